// Words, numbers and the few things done to the document. Nothing newer than ES2017; text only ever goes in by textContent.
(function () {
  "use strict";

  var F = window.Fuel = { currency: "CNY", skew: 0 };
  var TEXTS = window.TEXTS;

  // ---- words and numbers

  function keep(name, value) { try { localStorage.setItem(name, value); } catch (e) { /* private mode: for this page only */ } }
  function kept(name) { try { return localStorage.getItem(name); } catch (e) { return null; } }

  var language = kept("language") || (/^zh/i.test(navigator.language || "") ? "zh" : "en");
  if (language !== "zh") language = "en";
  var size = Math.min(3, Math.max(1, Number(kept("size")) || 1));

  function t(key, values) {
    var text = TEXTS[key][language === "zh" ? 0 : 1];
    return text.replace(/\{(\w+)\}/g, function (whole, name) { return values && name in values ? String(values[name]) : whole; });
  }
  function said(text) { return text ? text[language] || text.zh || text.en || "" : ""; }

  function decimals(value, places, least) {
    var negative = value < 0;
    var digits = String(Math.abs(value));
    while (digits.length <= places) digits = "0" + digits;
    var whole = digits.slice(0, -places);
    var part = digits.slice(-places);
    while (part.length > least && part.endsWith("0")) part = part.slice(0, -1);
    return (negative ? "-" : "") + whole + (part ? "." + part : "");
  }
  function figure(minor) { return decimals(minor, 2, 2); }
  function litres(ml) { return decimals(ml, 3, 2); }
  function priceFigure(micros) { return decimals(micros, 6, 2); }
  function moneyUnit() { return F.currency === "CNY" ? t("yuan") : F.currency; }
  function money(minor) {
    if (F.currency === "CNY" && language === "en") return minor < 0 ? "-¥" + figure(-minor) : "¥" + figure(minor);
    return figure(minor) + " " + moneyUnit();
  }
  function volume(ml) { return litres(ml) + " " + t("litre"); }
  function priceUnit() { return F.currency === "CNY" ? t("per_litre") : t("per_litre_of", { currency: F.currency }); }
  function twoDigits(n) { return n < 10 ? "0" + n : String(n); }
  function minutes(seconds) { return Math.floor(seconds / 60) + ":" + twoDigits(seconds % 60); }
  function when(text) {
    var at = new Date(text);
    if (isNaN(at)) return "";
    return at.getFullYear() + "-" + twoDigits(at.getMonth() + 1) + "-" + twoDigits(at.getDate()) + " " + clock(text);
  }
  function clock(text) {
    var at = new Date(text);
    return isNaN(at) ? "" : twoDigits(at.getHours()) + ":" + twoDigits(at.getMinutes()) + ":" + twoDigits(at.getSeconds());
  }
  function serverNow() { return Date.now() + F.skew; }

  // ---- the document

  var $ = function (id) { return document.getElementById(id); };
  function put(id, text) { var it = $(id); if (it.textContent !== text) it.textContent = text; }
  function show(id, yes) { $(id).hidden = !yes; }
  function el(tag, className, text) {
    var it = document.createElement(tag);
    if (className) it.className = className;
    if (text !== undefined) it.textContent = text;
    return it;
  }
  function button(className, text, onClick) {
    var it = el("button", className, text);
    it.type = "button";
    it.addEventListener("click", onClick);
    return it;
  }
  // Builds a list anew only when its data changed, and gives the focus back to the item that had it.
  function fill(id, data, build) {
    var box = $(id);
    var now = JSON.stringify([language, data]);
    if (box.made === now) return;
    box.made = now;
    var active = document.activeElement;
    var key = active && box.contains(active) ? active.getAttribute("data-key") : null;
    box.textContent = "";
    build(box);
    if (key !== null) {
      Array.prototype.forEach.call(box.querySelectorAll("[data-key]"), function (it) { if (it.getAttribute("data-key") === key) it.focus(); });
    }
  }
  function pairs(id, rows) {
    fill(id, rows, function (box) {
      rows.forEach(function (row) {
        var line = el("div", row[2] || "");
        line.appendChild(el("dt", "", row[0]));
        line.appendChild(el("dd", "", row[1]));
        box.appendChild(line);
      });
    });
  }
  function choices(id, name, items, current, onPick) {
    fill(id, [items, current], function (box) {
      items.forEach(function (item) {
        var label = el("label", "choice");
        var input = el("input");
        input.type = "radio";
        input.name = name;
        input.value = item.id === null ? "" : item.id;
        input.checked = item.id === current;
        input.disabled = Boolean(item.off);
        input.setAttribute("data-key", name + input.value);
        input.addEventListener("change", function () { onPick(item.id); });
        label.appendChild(input);
        var text = el("span", "", item.text);
        if (item.note) text.appendChild(el("span", "note", item.note));
        label.appendChild(text);
        box.appendChild(label);
      });
    });
  }

  var sayTimer = null;
  // The one live region. Cleared first, so that the same sentence twice is read twice.
  function say(text) {
    if (!text) return;
    put("say", "");
    clearTimeout(sayTimer);
    sayTimer = setTimeout(function () { put("say", text); }, 60);
  }
  function focusOn(id) { var it = $(id); it.focus(); if (it.scrollIntoView) it.scrollIntoView({ block: "center" }); }

  F.language = function () { return language; };
  F.setLanguage = function (to) { language = to; keep("language", to); };
  F.size = function () { return size; };
  F.setSize = function (to) { size = to; keep("size", String(to)); };
  [t, said, decimals, figure, litres, priceFigure, moneyUnit, money, volume, priceUnit, minutes, when, clock, serverNow, put, show, el, button, fill, pairs, choices, say, focusOn].forEach(function (it) { F[it.name] = it; });
  F.$ = $;
})();
