(function () {
  "use strict";
  var most = 50;
  document.querySelectorAll("[data-long]").forEach(function (tools) {
    var body = document.getElementById(tools.getAttribute("data-long"));
    var rows = Array.prototype.slice.call(body.rows);
    var search = tools.querySelector("input"), button = tools.querySelector("button");
    var said = tools.querySelector("output"), all = rows.length <= most;
    function show() {
      var words = search.value.toLowerCase().split(/\s+/).filter(Boolean), n = 0, found = 0;
      rows.forEach(function (row) {
        var text = row.textContent.toLowerCase();
        var hit = words.every(function (word) { return text.indexOf(word) >= 0; });
        found += hit ? 1 : 0;
        row.hidden = !hit || (!all && !words.length && n >= most);
        n += row.hidden ? 0 : 1;
      });
      said.textContent = n + " of " + rows.length + " rows";
      button.hidden = rows.length <= most;
      button.textContent = all ? "Show the first " + most : "Show all";
    }
    search.addEventListener("input", show);
    button.addEventListener("click", function () { all = !all; show(); });
    tools.hidden = rows.length <= 12;
    show();
  });
})();
