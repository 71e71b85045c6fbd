// The line to the platform: calls, and one stream of events that comes back by itself.
(function () {
  "use strict";

  var F = window.Fuel;
  // The server sends a tick at least every 10 s; EventSource itself does not notice a line that is only silent.
  var SILENCE_MS = 25000;
  var ANSWER_MS = 15000;

  function within(promise, ms) {
    return Promise.race([promise, new Promise(function (_, reject) { setTimeout(function () { reject(new Error("no answer")); }, ms); })]);
  }
  // Answers with the JSON; throws the server's refusal, or {error: "offline"}.
  async function call(method, path, body, again) {
    var options = { method: method, credentials: "same-origin", cache: "no-store", headers: { accept: "application/json" } };
    if (body !== undefined) {
      options.headers["content-type"] = "application/json";
      options.body = JSON.stringify(body);
    }
    var answer, data = null;
    try {
      answer = await within(fetch("/api/v1" + path, options), ANSWER_MS);
      var text = await within(answer.text(), ANSWER_MS);
      try { data = text ? JSON.parse(text) : null; } catch (e) { data = null; }
    } catch (e) {
      throw { error: "offline" };
    }
    var date = Date.parse(answer.headers.get("date") || "");
    if (!isNaN(date) && Math.abs(date - F.serverNow()) > 1500) F.skew = date - Date.now();
    if (answer.ok) return data;
    var refusal = data && data.error ? data : { error: "refused", status: answer.status };
    if (answer.status === 429 && !again) {
      var wait = Math.min(5, Number(answer.headers.get("retry-after")) || 1);
      await new Promise(function (done) { setTimeout(done, wait * 1000); });
      return call(method, path, body, true);
    }
    throw refusal;
  }

  var line = { path: null, source: null, onData: null, watch: null, retry: null, tries: 0 };

  function hangUp() {
    if (line.source) line.source.close();
    clearTimeout(line.watch);
    clearTimeout(line.retry);
    line.source = null;
  }
  function leave() { hangUp(); line.path = null; F.onLost(null); }
  function listen(path, onData) {
    if (line.path === path && line.source) return;
    leave();
    line.path = path;
    line.onData = onData;
    line.tries = 0;
    dial();
  }
  function heard() {
    clearTimeout(line.watch);
    line.watch = setTimeout(redial, SILENCE_MS);
    line.tries = 0;
    F.onLost(null);
  }
  function dial() {
    hangUp();
    var path = line.path;
    if (!window.EventSource) { line.retry = setTimeout(redial, 2000); return; }
    var source = new EventSource("/api/v1" + path + "/events");
    line.source = source;
    line.watch = setTimeout(redial, SILENCE_MS);
    source.onopen = heard;
    source.onerror = function () { if (line.source === source) broken(); };
    ["nozzle", "order", "live"].forEach(function (name) {
      source.addEventListener(name, function (event) {
        if (line.source !== source) return;
        heard();
        var data = null;
        try { data = JSON.parse(event.data); } catch (e) { return; }
        line.onData(name, data);
      });
    });
    source.addEventListener("tick", heard);
    source.addEventListener("end", function () { if (line.source === source) leave(); });
  }
  function broken() {
    hangUp();
    // One cut that mends at once is no news.
    if (navigator.onLine === false) F.onLost("phone"); else if (line.tries > 0) F.onLost("server");
    var wait = Math.min(8000, 500 * Math.pow(2, line.tries)) * (0.75 + Math.random() / 2);
    line.tries += 1;
    line.retry = setTimeout(redial, wait);
  }
  // Asks once the plain way: it brings the state up to date even where streams are cut, and says why a stream was refused.
  async function redial() {
    var path = line.path;
    if (!path) return;
    hangUp();
    try {
      var data = await call("GET", path);
      if (line.path !== path) return;
      line.onData(path.indexOf("/nozzles/") === 0 ? "nozzle" : "order", data);
      if (line.path === path) { if (!window.EventSource) F.onLost(null); dial(); }
    } catch (refusal) {
      if (line.path !== path) return;
      if (refusal.error === "offline" || refusal.error === "refused" || refusal.error === "rate_limited") { broken(); return; }
      leave();
      F.onRefused(refusal, redial);
    }
  }
  window.addEventListener("online", function () { if (line.path) redial(); });
  window.addEventListener("offline", function () { if (line.path) broken(); });
  document.addEventListener("visibilitychange", function () {
    // A phone that slept may hold a dead line that looks open.
    if (!document.hidden && line.path) redial();
  });

  F.call = call;
  F.listen = listen;
  F.leave = leave;
})();
