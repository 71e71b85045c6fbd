// Keeps a page of the platform up to date without loading it again, so that scrolling, focus and a screen reader's place stay as they are.
(function () {
  "use strict";

  var EVERY_MS = 2000;
  var lost = document.getElementById("lost");
  var before = null;

  function scrolled() { return Array.prototype.map.call(document.querySelectorAll(".scroll"), function (box) { return box.scrollLeft; }); }

  function take(text) {
    var main = new DOMParser().parseFromString(text, "text/html").querySelector("main");
    if (!main || main.outerHTML === before) return;
    before = main.outerHTML;
    var focused = document.activeElement && document.activeElement.getAttribute("href");
    var places = scrolled();
    document.querySelector("main").replaceWith(document.importNode(main, true));
    Array.prototype.forEach.call(document.querySelectorAll(".scroll"), function (box, i) { box.scrollLeft = places[i] || 0; });
    if (!focused) return;
    var again = Array.prototype.filter.call(document.querySelectorAll("main a"), function (it) { return it.getAttribute("href") === focused; })[0];
    if (again) again.focus({ preventScroll: true });
  }

  async function look() {
    if (document.hidden) return;
    try {
      var answer = await fetch(location.href, { cache: "no-store" });
      if (!answer.ok) throw new Error(String(answer.status));
      take(await answer.text());
      lost.hidden = true;
    } catch (e) {
      lost.hidden = false;
    }
  }

  async function run() { await look(); setTimeout(run, EVERY_MS); }
  document.addEventListener("visibilitychange", look);
  setTimeout(run, EVERY_MS);
})();
