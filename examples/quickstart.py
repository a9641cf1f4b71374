import pymc as pm, numpy as np, pmlik
temperature = np.array([66, 70, 69, 68, 67, 72, 73, 70, 57, 63, 70, 78, 67, 53, 67, 75, 70, 81, 76, 79, 75, 76, 58])
damage = np.array([0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1])
with pm.Model() as model:
    b0 = pm.Normal("intercept", 0, 20)
    b1 = pm.Normal("slope", 0, 1)
    pm.Deterministic("risk_at_31F", pm.math.invlogit(b0+b1*31))
    pm.Bernoulli("damage", logit_p=b0+b1*temperature, observed=damage)
if __name__ == "__main__":
    c = pmlik.compare(model, random_seed=1)
    print(c)
    print(c.table.to_string())
