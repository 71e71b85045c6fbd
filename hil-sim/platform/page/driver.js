// The driver's page: a nozzle, an order, the list of orders. Nothing newer than ES2017; text only ever goes in by textContent.
(function () {
  "use strict";

  var F = window.Fuel, TEXTS = window.TEXTS;
  var t = F.t, said = F.said, decimals = F.decimals, figure = F.figure, litres = F.litres, priceFigure = F.priceFigure, moneyUnit = F.moneyUnit, money = F.money, volume = F.volume, priceUnit = F.priceUnit, minutes = F.minutes, when = F.when, clock = F.clock, serverNow = F.serverNow, $ = F.$, put = F.put, show = F.show, el = F.el, button = F.button, fill = F.fill, pairs = F.pairs, choices = F.choices, say = F.say, focusOn = F.focusOn, call = F.call, listen = F.listen, leave = F.leave;
  var QR = decodeURIComponent((/\/n\/([^/?#]+)/.exec(location.pathname) || ["", ""])[1]);
  var QUERY = new URLSearchParams(location.search);
  var MODES = ["amount_minor", "volume_ml", "full_tank_minor"];
  var ALARMS = ["emergency", "gas_alarm"];
  var ENDS = ["completed", "released", "cancelled", "expired"];

  var S = {
    view: "pump", nozzle: null, member: null, order: null, orders: null, seen: null, mode: "amount_minor", value: null, own: false, ownText: "",
    vehicle: null, coupon: undefined, channel: null, group: QUERY.get("group"), last: false,
    refusal: null, again: null, busy: false, cancelling: false, changed: false, moving: false, invoiced: {}, lost: null
  };

  // ---- refusals

  var STEPS = {
    not_logged_in: ["signin"], foreign_origin: ["reload"], not_yours: ["pump"], unknown_nozzle: ["orders"], unknown_order: ["pump"],
    malformed: ["reload"], cloud_offline: ["retry"], station_held: ["retry"], nozzle_unavailable: ["others", "retry"], tank_low: ["others"],
    comm_lost: ["others"], emergency: [], gas_alarm: [], unloading: ["others", "retry"], price_mismatch: ["others", "retry"], store_full: ["retry"], review: ["others"],
    unsupported_preset: ["amount"], nozzle_busy: ["others", "retry"], price_changed: ["confirm"], grade_mismatch: ["suggested", "vehicle"],
    limit_too_small: ["amount"], limit_exceeded: ["amount"], daily_limit: ["amount"], coupon_not_usable: ["nocoupon"],
    group_not_complete: ["nogroup"], card_refused: ["otherpay"], cannot_cancel: ["look"], already_ended: ["look"], key_reused: ["retry"], cannot_move: ["look"], cancelled: ["new"],
    expired: ["new"], rate_limited: ["retry"], too_far: ["retry"], offline: ["retry"], refused: ["retry"]
  };

  function refusalText(refusal) {
    if (refusal.text) return said(refusal.text);
    if (refusal.own) return t(refusal.own, refusal.values);
    return refusal.error === "offline" ? t("offline") : refusal.detail || t("refused");
  }
  // A refusal of something the driver did: shown first on the page, with what can be done, and given the focus.
  function refuse(refusal, again) {
    if (refusal instanceof Error) throw refusal;
    if (refusal.error === "key_reused") forget();
    S.refusal = refusal;
    S.again = again || null;
    render();
    focusOn("refusal-text");
  }
  function clearRefusal() { S.refusal = null; S.again = null; }

  function sameGrade() {
    var mine = S.nozzle;
    return mine ? mine.others.filter(function (other) { return other.grade === mine.grade && other.available; }) : [];
  }
  function nozzleLink(qr, n, className) {
    var link = el("a", className, t("do_nozzle", { n: n }));
    link.href = "/n/" + encodeURIComponent(qr) + location.search;
    return link;
  }
  function suggested(refusal) {
    return (refusal.suggested_nozzles || []).map(function (item) {
      if (typeof item === "object") return item;
      var known = S.nozzle ? S.nozzle.others.filter(function (other) { return other.nozzle === item; })[0] : null;
      return known ? { nozzle: item, qr_token: known.qr_token } : null;
    }).filter(function (item) { return item && item.qr_token; });
  }
  var DO = {
    signin: function () { clearRefusal(); S.member = null; go("pump"); render(); focusOn("phone"); },
    reload: function () { location.reload(); },
    pump: function () { clearRefusal(); go("pump"); },
    orders: function () { clearRefusal(); go("orders"); },
    retry: function () { var again = S.again; clearRefusal(); render(); if (again) again(); else open(); },
    confirm: function () {
      var price = S.refusal.unit_price_micros;
      S.seen = price;
      if (S.nozzle) S.nozzle.unit_price_micros = price;
      clearRefusal(); render(); focusOn("pay");
    },
    amount: function () { clearRefusal(); render(); focusOn("amount-title"); },
    vehicle: function () { clearRefusal(); $("vehicle-box").open = true; render(); focusOn("vehicle-now"); $("vehicle-box").querySelector("summary").focus(); },
    nocoupon: function () { S.coupon = null; clearRefusal(); render(); focusOn("pay"); },
    nogroup: function () { S.group = null; clearRefusal(); render(); focusOn("pay"); },
    otherpay: function () { clearRefusal(); go("pump"); $("channel-box").open = true; render(); $("channel-box").querySelector("summary").focus(); },
    look: function () { clearRefusal(); render(); if (S.order) refreshOrder(); },
    new: function () { clearRefusal(); startAnew(); }
  };

  function renderRefusal() {
    // An alarm goes before all else, and reaches those who are fuelling, too.
    var refusal = S.view === "order" && S.order && S.order.alarm || S.refusal || (S.view === "pump" && S.nozzle ? S.nozzle.refusal : null);
    var alarm = Boolean(refusal && ALARMS.indexOf(refusal.error) >= 0);
    show("refusal", Boolean(refusal));
    document.body.classList.toggle("alarm", alarm);
    if (!refusal) return;
    put("refusal-text", refusalText(refusal));
    // Alone on the page it is its heading.
    if (alarm) { $("refusal-text").setAttribute("role", "heading"); $("refusal-text").setAttribute("aria-level", "1"); }
    else $("refusal-text").removeAttribute("role");
    var steps = STEPS[refusal.error] || ["retry"];
    if (refusal.error === "price_changed" && !refusal.unit_price_micros) steps = ["reload"];
    fill("refusal-steps", [refusal, steps, sameGrade()], function (box) {
      steps.forEach(function (step) {
        if (step === "others") sameGrade().forEach(function (other) { box.appendChild(nozzleLink(other.qr_token, other.nozzle, "second")); });
        else if (step === "suggested") suggested(refusal).forEach(function (item) { box.appendChild(nozzleLink(item.qr_token, item.nozzle, "second")); });
        else box.appendChild(button("second", t("do_" + step, { price: step === "confirm" ? priceFigure(refusal.unit_price_micros || 0) : "" }), DO[step]));
      });
    });
  }

  // ---- the nozzle and what to buy

  function limitOf() { if (S.value === null) return null; var limit = {}; limit[S.mode] = S.value; return limit; }
  function gross() {
    if (S.value === null) return 0;
    if (S.mode !== "volume_ml") return S.value;
    // ml x micros per litre, to minor units, half up; below 2^53 for every litre a pump can show.
    return Math.floor((S.value * (S.seen || 0) + 5000000) / 10000000);
  }
  function coupons() { return S.nozzle && S.nozzle.coupons && S.nozzle.coupons.length ? S.nozzle.coupons : S.member ? S.member.coupons || [] : []; }
  function coupon() {
    var usable = coupons().filter(function (item) { return item.threshold_minor <= gross(); });
    if (S.coupon === null || !usable.length) return null;
    if (S.coupon) { var chosen = usable.filter(function (item) { return item.coupon_id === S.coupon; })[0]; if (chosen) return chosen; }
    return usable.reduce(function (best, item) { return item.discount_minor > best.discount_minor ? item : best; });
  }
  function payable() { var off = coupon(); return gross() - (off ? off.discount_minor : 0); }
  function rules() { return S.nozzle && S.nozzle.limits || {}; }
  function range() {
    var limits = rules();
    return S.mode === "volume_ml" ? [limits.min_volume_ml || 1, limits.max_volume_ml || 100000] : [limits.min_amount_minor || 1, limits.max_amount_minor || 100000];
  }
  function inUnit(value) { return S.mode === "volume_ml" ? volume(value) : money(value); }
  function pick(mode, value) { S.mode = mode; S.value = value; S.last = false; S.changed = false; clearOwnRefusal(); }
  // A refusal of the last try says nothing about another choice.
  function clearOwnRefusal() { if (S.refusal && S.refusal.error !== "price_changed" && ALARMS.indexOf(S.refusal.error) < 0) clearRefusal(); }

  function limitText(limit) {
    if (limit.amount_minor) return money(limit.amount_minor);
    if (limit.volume_ml) return volume(limit.volume_ml);
    return t("full_tank") + " · " + t("at_most", { sum: money(limit.full_tank_minor) });
  }
  function vehicleOf(id) { return ((S.member && S.member.vehicles) || []).filter(function (item) { return item.vehicle_id === id; })[0] || null; }
  // Its name where a nozzle here sells it; elsewhere its number alone.
  function gradeText(grade) {
    var known = S.nozzle ? [S.nozzle].concat(S.nozzle.others).filter(function (it) { return it.grade === grade && it.grade_name; })[0] : null;
    return known ? said(known.grade_name) : t("grade_short", { grade: grade });
  }
  function vehicleText(item) { return item.plate_masked + " · " + gradeText(item.grade); }
  function channels() {
    var list = ((S.nozzle && S.nozzle.pay_with) || ["sandbox"]).filter(function (id) { return TEXTS["with_" + id]; })
      .map(function (id) { return { id: id, text: t("with_" + id) }; });
    ((S.member && S.member.cards) || []).forEach(function (card) {
      list.push({ id: card.card_id, text: t("card_left", { name: typeof card.name === "object" ? said(card.name) : card.name, sum: money(card.available_minor) }) });
    });
    return list;
  }
  function channel() {
    var list = channels();
    return list.filter(function (item) { return item.id === S.channel; })[0] || list[0];
  }

  function takeNozzle(nozzle) {
    var member = nozzle.member || S.member;
    if (S.seen === null || S.value === null) S.seen = nozzle.unit_price_micros;
    else if (nozzle.unit_price_micros !== null && S.seen !== nozzle.unit_price_micros && !(S.refusal && S.refusal.unit_price_micros === nozzle.unit_price_micros)) {
      S.refusal = { error: "price_changed", own: "price_changed", unit_price_micros: nozzle.unit_price_micros,
        values: { old: priceFigure(S.seen), new: priceFigure(nozzle.unit_price_micros) } };
      say(refusalText(S.refusal));
    }
    var before = S.nozzle;
    S.nozzle = nozzle;
    S.member = member;
    if (before) {
      var was = before.refusal ? before.refusal.error : stateWords(before);
      var is = nozzle.refusal ? nozzle.refusal.error : stateWords(nozzle);
      if (was !== is && S.view === "pump") say(nozzle.refusal ? refusalText(nozzle.refusal) : is);
    }
    render();
  }
  function stateWords(nozzle) {
    if (!nozzle.station.online) return t("station_offline");
    if (nozzle.refusal) return t("held");
    if (nozzle.state === "inoperative" || nozzle.state === "closed") return t("closed");
    var words = [nozzle.available ? nozzle.state === "calling" ? t("calling") : "" : t("busy")];
    if (nozzle.queue > 0) words.push(t("queue", { n: nozzle.queue }));
    if (nozzle.wait_estimate_s > 0) words.push(t("waiting", { min: Math.ceil(nozzle.wait_estimate_s / 60) }));
    return words.filter(Boolean).join(" · ") || t("free");
  }

  function renderPump() {
    var nozzle = S.nozzle;
    if (!nozzle) return;
    var member = S.member;
    document.title = t("title", { n: nozzle.nozzle, grade: said(nozzle.grade_name) });
    put("station", said(nozzle.station.name));
    put("pump-disc", String(nozzle.nozzle));
    put("pump-title", t("nozzle", { n: nozzle.nozzle }));
    put("pump-grade", said(nozzle.grade_name));
    put("pump-price", nozzle.unit_price_micros === null ? t("price_unknown") : priceFigure(nozzle.unit_price_micros));
    put("pump-price-unit", nozzle.unit_price_micros === null ? "" : priceUnit());
    put("pump-state", stateWords(nozzle));
    $("pump-dot").className = "dot " + (nozzle.refusal || !nozzle.station.online ? "no" : nozzle.available && nozzle.state === "idle" ? "yes" : "wait");

    var under = (S.orders || []).filter(function (order) { return ENDS.indexOf(order.state) < 0; })[0];
    show("resume", Boolean(under));
    if (under) put("resume-text", t("nozzle", { n: under.nozzle }) + " · " + limitText(under.limit) + " · " + t("state_" + under.state));

    var last = member && member.last;
    var same = last && last.grade === nozzle.grade;
    // A nozzle that takes no orders shows why and where else, nothing to fill in.
    var open_ = !nozzle.refusal;
    show("amount", open_);
    show("more", open_);
    show("paybar", open_);
    show("last", Boolean(open_ && same));
    show("last-other", Boolean(open_ && last && !same));
    if (same) {
      var vehicle = vehicleOf(last.vehicle_id);
      var amount = !last.limit.full_tank_minor;
      put("last-sum", amount ? limitText(last.limit) : "");
      put("last-text", [amount ? "" : limitText(last.limit), vehicle ? vehicle.plate_masked : "", (channels().filter(function (c) { return c.id === last.pay_with; })[0] || {}).text || ""].filter(Boolean).join(" · "));
      $("last").setAttribute("aria-pressed", String(S.last));
    } else if (last) put("last-other", t("last_other", { last: gradeText(last.grade), grade: said(nozzle.grade_name) }));

    MODES.forEach(function (mode, i) { document.getElementsByName("mode")[i].checked = mode === S.mode; });
    show("full-note", S.mode === "full_tank_minor");
    var presets = (nozzle.presets || []).filter(function (preset) { return preset[S.mode]; }).map(function (preset) { return preset[S.mode]; });
    fill("presets", [presets, S.mode, S.value, S.own, F.currency], function (box) {
      presets.forEach(function (value) {
        var text = S.mode === "full_tank_minor" ? t("at_most", { sum: money(value) }) : S.mode === "volume_ml" ? decimals(value, 3, 0) + " " + t("litre") : F.language() === "en" && F.currency === "CNY" ? "¥" + decimals(value, 2, 0) : decimals(value, 2, 0) + " " + moneyUnit();
        var it = button("preset", text, function () { S.own = false; pick(S.mode, value); render(); });
        it.setAttribute("aria-pressed", String(!S.own && S.value === value));
        it.setAttribute("data-key", "preset" + value);
        box.appendChild(it);
      });
      var other = button("preset", t("other"), function () {
        S.own = !S.own;
        if (S.own) { S.ownText = ""; pick(S.mode, null); }
        render();
        if (S.own) { $("own").focus(); $("own-box").scrollIntoView({ block: "end" }); }
      });
      other.setAttribute("aria-expanded", String(S.own));
      other.setAttribute("aria-controls", "own-box");
      other.setAttribute("data-key", "other");
      box.appendChild(other);
    });
    show("own-box", S.own);
    if (S.own) {
      put("own-label", t("own_" + S.mode));
      put("own-unit", S.mode === "volume_ml" ? t("litre") : moneyUnit());
      if ($("own").value !== S.ownText) $("own").value = S.ownText;
      put("own-hint", t("own_hint", { min: inUnit(range()[0]), max: inUnit(range()[1]) }));
      $("own").setAttribute("aria-invalid", String(S.ownText !== "" && S.value === null));
      renderPad();
    }

    show("signin", open_ && !member);
    show("vehicle-box", Boolean(member));
    show("coupon-box", coupons().length > 0);
    if (member) {
      var vehicles = (member.vehicles || []).map(function (item) {
        return { id: item.vehicle_id, text: vehicleText(item) };
      });
      vehicles.push({ id: null, text: t("vehicle_none") });
      choices("vehicles", "vehicle", vehicles, S.vehicle, function (id) { S.vehicle = id; S.last = false; clearOwnRefusal(); render(); });
      put("vehicle-now", S.vehicle && vehicleOf(S.vehicle) ? vehicleOf(S.vehicle).plate_masked : t("vehicle_none"));
    }
    var off = coupon();
    var tickets = coupons().map(function (item) {
      var enough = item.threshold_minor <= gross();
      return { id: item.coupon_id, text: said(item.text), note: enough ? "" : t("coupon_from", { sum: money(item.threshold_minor) }), off: !enough };
    });
    tickets.push({ id: null, text: t("coupon_none") });
    choices("coupons", "coupon", tickets, off ? off.coupon_id : null, function (id) { S.coupon = id; S.last = false; clearOwnRefusal(); render(); });
    put("coupon-now", off ? said(off.text) : t("coupon_none"));
    choices("channels", "channel", channels(), channel().id, function (id) { S.channel = id; S.last = false; clearOwnRefusal(); render(); });
    put("channel-now", channel().text);

    show("others-box", nozzle.others.length > 0);
    fill("others", nozzle.others, function (box) {
      nozzle.others.forEach(function (other) {
        var item = el("li");
        var link = nozzleLink(other.qr_token, other.nozzle, "row");
        link.setAttribute("data-key", other.qr_token);
        link.appendChild(el("span", "note", gradeText(other.grade) + " · " + (other.available ? other.wait_estimate_s > 0 ? t("waiting", { min: Math.ceil(other.wait_estimate_s / 60) }) : t("other_free") : t("other_busy"))));
        item.appendChild(link);
        box.appendChild(item);
      });
    });
    renderPay();
  }

  function blocked() {
    if (S.refusal && S.refusal.error === "price_changed") return true;
    return Boolean(S.nozzle.refusal) || S.nozzle.unit_price_micros === null;
  }
  function renderPay() {
    var off = coupon();
    var ready = !blocked() && S.value !== null && S.member;
    put("pay", S.busy ? t("paying") : blocked() ? t("not_now") : S.value === null ? t("choose") : !S.member ? t("signin_first") : t("pay", { sum: money(payable()) }));
    $("pay").className = ready ? "first" : "first waiting";
    // aria-disabled rather than disabled: the button keeps the focus and can say what is missing.
    $("pay").setAttribute("aria-disabled", String(S.busy || blocked()));
    put("pay-note", S.value === null ? "" : (off ? t("pay_less", { gross: money(gross()), discount: money(off.discount_minor) }) + " · " : "") + t("pay_settle"));
  }
  function renderPad() {
    fill("pad", 0, function (box) {
      ["1", "2", "3", "4", "5", "6", "7", "8", "9", ".", "0", "<"].forEach(function (key) {
        var it = button("key", key === "<" ? "⌫" : key, function () {
          own(key === "<" ? S.ownText.slice(0, -1) : S.ownText + key);
        });
        it.setAttribute("data-key", "pad" + key);
        if (key === "<") it.setAttribute("aria-label", t("erase"));
        if (key === ".") it.setAttribute("aria-label", t("point"));
        box.appendChild(it);
      });
    });
  }
  function own(text) {
    text = text.replace(",", ".").replace(/[^0-9.]/g, "");
    if (!/^\d{0,5}(\.\d{0,2})?$/.test(text)) text = S.ownText;
    S.ownText = text;
    var parts = text.split(".");
    var places = S.mode === "volume_ml" ? 3 : 2;
    var value = text === "" || text === "." ? null : Number((parts[0] || "0") + ((parts[1] || "") + "000").slice(0, places));
    var limits = range();
    pick(S.mode, value !== null && value >= limits[0] && value <= limits[1] ? value : null);
    render();
  }

  function useLast() {
    var last = S.member.last;
    var mode = MODES.filter(function (name) { return last.limit[name]; })[0];
    S.own = false;
    pick(mode, last.limit[mode]);
    S.vehicle = last.vehicle_id || null;
    S.channel = last.pay_with || null;
    S.coupon = undefined;
    S.last = true;
    render();
    say(t("pay", { sum: money(payable()) }));
  }

  // ---- order and pay

  // The key of an intended order outlives a lost answer and a reload, so that trying again cannot make a second order.
  function keyFor(content) {
    var text = JSON.stringify(content);
    var pending = null;
    try { pending = JSON.parse(sessionStorage.getItem("pending")); } catch (e) { pending = null; }
    if (!pending || pending.text !== text) {
      var bytes = new Uint8Array(16);
      crypto.getRandomValues(bytes);
      pending = { text: text, key: Array.prototype.map.call(bytes, function (byte) { return ("0" + byte.toString(16)).slice(-2); }).join("") };
      try { sessionStorage.setItem("pending", JSON.stringify(pending)); } catch (e) { S.pending = pending; }
      if (S.pending && S.pending.text === text) pending = S.pending;
    }
    return pending.key;
  }
  function forget() { S.pending = null; try { sessionStorage.removeItem("pending"); } catch (e) { /* nothing kept */ } }

  async function pay() {
    if (S.busy || !S.nozzle) return;
    if (blocked()) { if (!$("refusal").hidden) focusOn("refusal-text"); return; }
    if (S.value === null) { focusOn(S.own ? "own" : "amount-title"); return; }
    if (!S.member) { focusOn("phone"); return; }
    var off = coupon();
    var shown = payable();
    var body = {
      qr_token: QR, limit: limitOf(), coupon_id: off ? off.coupon_id : null, vehicle_id: S.vehicle, group_id: S.group || null,
      pay_with: channel().id, unit_price_micros: S.seen
    };
    body.idempotency_key = keyFor(body);
    S.busy = true;
    clearRefusal();
    render();
    try {
      var order = await call("POST", "/orders", body);
      forget();
      S.order = order;
      S.changed = order.payable_minor !== shown;
      // Never another sum than the one on the button.
      if (order.state === "awaiting_payment" && !S.changed) {
        go("order", order.order_id, true);
        try { takeOrder(await call("POST", "/orders/" + encodeURIComponent(order.order_id) + "/pay", {})); } catch (refusal) { S.busy = false; refuse(refusal, payOrder); return; }
      } else go("order", order.order_id, true);
      S.busy = false;
      render();
      focusOn("order-title");
      open();
    } catch (refusal) {
      S.busy = false;
      refuse(refusal, pay);
    }
  }
  async function payOrder() {
    if (S.busy || !S.order) return;
    S.busy = true;
    S.changed = false;
    clearRefusal();
    render();
    try {
      takeOrder(await call("POST", "/orders/" + encodeURIComponent(S.order.order_id) + "/pay", {}));
      S.busy = false;
      render();
      focusOn("order-title");
      open();
    } catch (refusal) {
      S.busy = false;
      refuse(refusal, payOrder);
    }
  }
  async function cancel() {
    if (S.cancelling) return;
    S.cancelling = true;
    clearRefusal();
    render();
    try {
      takeOrder(await call("POST", "/orders/" + encodeURIComponent(S.order.order_id) + "/cancel", {}));
      S.cancelling = false;
      render();
    } catch (refusal) {
      S.cancelling = false;
      refuse(refusal, cancel);
    }
  }
  async function move() {
    if (S.moving) return;
    S.moving = true;
    render();
    try {
      takeOrder(await call("POST", "/orders/" + encodeURIComponent(S.order.order_id) + "/move", { qr_token: S.order.wrong_nozzle.qr_token }));
      say(t("moving"));
    } catch (refusal) {
      refuse(refusal, move);
    }
    S.moving = false;
    render();
  }
  async function refreshOrder() {
    try { takeOrder(await call("GET", "/orders/" + encodeURIComponent(S.order.order_id))); } catch (refusal) { refuse(refusal, refreshOrder); }
  }
  // Asked for only where an invitation needs it: it counts near the station. Without an answer the sign-in goes on.
  function position() {
    return new Promise(function (done) {
      if (!navigator.geolocation) { done({}); return; }
      var micro = function (degrees) { return Math.round(degrees * 1000000); };
      navigator.geolocation.getCurrentPosition(function (at) {
        done({ lat_udeg: micro(at.coords.latitude), lon_udeg: micro(at.coords.longitude) });
      }, function () { done({}); }, { timeout: 5000, maximumAge: 60000 });
    });
  }
  async function signIn() {
    var phone = $("phone").value.replace(/\D/g, "");
    var right = phone.length === 11;
    $("phone").setAttribute("aria-invalid", String(!right));
    put("phone-hint", t(right ? "phone_hint" : "phone_wrong"));
    if (!right) { $("phone").focus(); return; }
    try {
      var body = { phone: phone, station_id: S.nozzle.station.station_id };
      if (QUERY.get("inviter")) {
        body.inviter = QUERY.get("inviter");
        Object.assign(body, await position());
      }
      var session = await call("POST", "/session", body);
      clearRefusal();
      // The nozzle answers with the member's coupons and what was taken the last time.
      takeNozzle(await call("GET", "/nozzles/" + encodeURIComponent(QR)));
      if (!S.member) S.member = session.member;
      joinGroup();
      render();
      say(t("signed_in", { phone: S.member.phone_masked }));
      focusOn(S.member.last && !$("last").hidden ? "last" : S.value === null ? "amount-title" : "pay");
      loadOrders();
    } catch (refusal) {
      refuse(refusal, signIn);
    }
  }
  async function joinGroup() {
    if (!S.group) return;
    try { await call("POST", "/groups/" + encodeURIComponent(S.group) + "/join", {}); } catch (refusal) { refuse(refusal, joinGroup); }
  }
  async function addVehicle() {
    var plate = $("plate").value.trim();
    if (!plate) { $("plate").focus(); return; }
    try {
      var vehicle = await call("POST", "/vehicles", { plate: plate, grade: S.nozzle.grade });
      S.member.vehicles = (S.member.vehicles || []).filter(function (item) { return item.vehicle_id !== vehicle.vehicle_id; }).concat([vehicle]);
      S.vehicle = vehicle.vehicle_id;
      $("plate").value = "";
      clearRefusal();
      render();
      say(vehicleText(vehicle));
    } catch (refusal) {
      refuse(refusal, addVehicle);
    }
  }
  async function invoice() {
    var title = $("invoice-title").value.trim();
    if (!title) { put("invoice-now", t("invoice_wrong")); $("invoice-title").setAttribute("aria-invalid", "true"); $("invoice-title").focus(); return; }
    try {
      await call("POST", "/orders/" + encodeURIComponent(S.order.order_id) + "/invoice", { title: title, tax_id: $("invoice-tax").value.trim() || null });
      S.invoiced[S.order.order_id] = true;
      $("invoice-title").removeAttribute("aria-invalid");
      clearRefusal();
      render();
      say(t("invoice") + " " + t("invoice_done"));
    } catch (refusal) {
      refuse(refusal, invoice);
    }
  }

  // ---- the order

  function ended(order) { return ENDS.indexOf(order.state) >= 0; }
  function orderText(order) { return said(order.end && order.end.text || order.text) || t("state_" + order.state); }

  function takeOrder(order) {
    var before = S.order && S.order.order_id === order.order_id ? S.order : null;
    // An end stays: what was asked before it may be answered after it.
    if (before && ended(before) && !ended(order)) return;
    S.order = order;
    if (order.alarm) say(refusalText(order.alarm));
    else if (!before || before.state !== order.state || orderText(before) !== orderText(order) || before.alarm) say(orderText(order));
    if (before && before.station_online !== false && order.station_online === false && order.code) say(t("code_offline", { code: order.code }));
    if (order.state !== "armed") S.moving = false;
    render();
  }
  function onOrderData(name, data) {
    if (S.view !== "order") return;
    if (name === "order") takeOrder(data);
    else if (name === "live" && S.order && !ended(S.order)) {
      S.order.live = data;
      // Not through the live region: a screen reader could not keep up, and these are not final.
      renderFigures(S.order);
    }
  }

  function renderOrder() {
    var order = S.order;
    if (!order) return;
    var state = order.state, end = order.end;
    var over = ended(order);
    document.title = t("nozzle", { n: order.nozzle }) + " · " + t("state_" + state);
    put("station", said(order.station_name));
    put("order-disc", String(order.nozzle));
    put("order-title", t("state_" + state));
    put("order-grade", t("nozzle", { n: order.nozzle }) + " · " + said(order.grade_name));
    put("order-text", orderText(order));
    $("order-face").className = "face " + state + (end && end.finish === "emergency" ? " emergency" : "");
    renderFigures(order);
    renderCount();

    var open_ = state === "awaiting_payment";
    show("order-pay", open_);
    put("order-pay-note", S.changed ? t("pay_changed", { sum: money(order.payable_minor) }) : t("pay_open"));
    put("order-pay-go", S.busy ? t("paying") : t("pay", { sum: money(order.payable_minor) }));
    $("order-pay-go").setAttribute("aria-disabled", String(S.busy));

    var wrong = order.wrong_nozzle || null;
    show("wrong", Boolean(wrong) && !over);
    if (wrong) {
      put("wrong-text", S.moving ? t("moving") : t("move_text", { n: order.nozzle, lifted: wrong.nozzle }));
      put("wrong-go", t("move_go", { lifted: wrong.nozzle }));
    }

    renderEnd(order);
    renderSteps(order);

    var code = Boolean(order.code) && (state === "paid" || state === "queued" || state === "armed");
    show("code-box", code);
    if (code) {
      put("code", order.code.replace(/(\d{3})(?=\d)/g, "$1 "));
      fill("qr", [order.order_id, Boolean(order.jws)], function (box) {
        if (!order.jws) return;
        var image = el("img");
        image.alt = t("qr_alt");
        // Fetched while there is a line, shown when there may be none.
        image.src = "/api/v1/orders/" + encodeURIComponent(order.order_id) + "/qr.svg";
        image.onerror = function () { box.made = null; box.textContent = ""; };
        box.appendChild(image);
      });
      if (order.station_online === false && S.codeFor !== order.order_id) { S.codeFor = order.order_id; $("code-box").open = true; }
    }
    show("cancel", open_ || state === "paid" || state === "queued" || state === "armed");
    put("cancel", t(S.cancelling ? "cancelling" : "cancel"));
    $("cancel").setAttribute("aria-disabled", String(S.cancelling));
    show("again", over);
  }

  function renderFigures(order) {
    var end = order.end && order.end.kind === "completed" ? order.end : null;
    var live = end || order.live;
    var running = !end && ["lifted", "fuelling"].indexOf(order.state) >= 0;
    show("figures", Boolean(end) || running);
    show("meter", running);
    put("figures-note", end ? t("final") : running ? t("running") : "");
    if (!end && !running) return;
    if (!live) live = { amount_minor: 0, volume_ml: 0 };
    put("live-amount", figure(live.amount_minor));
    put("live-amount-unit", moneyUnit());
    put("live-volume", litres(live.volume_ml));
    put("live-price", priceFigure((end && end.unit_price_micros) || order.unit_price_micros));
    put("live-price-unit", priceUnit());
    var limit = order.limit;
    var part = limit.volume_ml ? live.volume_ml / limit.volume_ml : live.amount_minor / (limit.amount_minor || limit.full_tank_minor || 1);
    $("meter-bar").style.width = Math.min(100, Math.round(part * 100)) + "%";
  }
  function renderCount() {
    var order = S.order;
    var until = order.state === "armed" ? order.lift_deadline : order.state === "awaiting_payment" ? order.expires_at : null;
    var left = until ? Math.max(0, Math.round((Date.parse(until) - serverNow()) / 1000)) : NaN;
    show("count", !isNaN(left));
    if (isNaN(left)) return;
    put("count-label", t(order.state === "armed" ? "lift_within" : "pay_within"));
    put("count-time", minutes(left));
  }
  setInterval(function () { if (S.view === "order" && S.order) renderCount(); }, 1000);

  function renderEnd(order) {
    var end = order.end;
    show("result", Boolean(end));
    show("receipt", Boolean(end && end.receipt));
    show("after", Boolean(end && end.kind === "completed"));
    var others = end && end.suggested_nozzles || [];
    show("suggested", others.length > 0);
    if (!end) return;
    fill("suggested-list", others, function (box) {
      others.forEach(function (other) {
        var item = el("li");
        item.appendChild(nozzleLink(other.qr_token, other.nozzle, "row"));
        box.appendChild(item);
      });
    });
    var rows = [];
    if (order.payment && order.payment.state !== "open") rows.push([t("paid_sum"), money(order.payable_minor)]);
    if (end.kind === "completed") {
      rows.push([t("fuel_sum"), volume(end.volume_ml) + " · " + money(end.amount_minor)]);
      if (end.discount_minor) rows.push([t("discount"), money(-end.discount_minor)]);
      if (end.group_rebate_minor) rows.push([t("rebate"), money(-end.group_rebate_minor)]);
      rows.push([t("charged"), money(end.charged_minor), "strong"]);
    }
    if (end.refund && end.refund.amount_minor > 0) rows.push([t("refund"), t(end.refund.state === "done" ? "refund_done" : "refund_accepted", { sum: money(end.refund.amount_minor) }), "good"]);
    else rows.push([t("refund"), t("refund_none")]);
    if (end.coupon) rows.push([t("coupon"), end.coupon.state === "used" ? t("coupon_used", { sum: money(end.coupon.discount_minor) }) : t("coupon_returned")]);
    pairs("money", rows);
    var first = (end.commission || []).filter(function (item) { return item.level === 1; })[0];
    show("inviter", Boolean(first));
    if (first) put("inviter", t("inviter", { sum: money(first.amount_minor) }));
    var receipt = end.receipt;
    if (receipt) {
      pairs("receipt-rows", [
        [t("r_station"), typeof receipt.station === "object" ? said(receipt.station) : receipt.station],
        [t("r_nozzle"), t("nozzle", { n: receipt.nozzle }) + " · " + said(order.grade_name)],
        [t("volume"), volume(receipt.volume_ml)],
        [t("price"), priceFigure(receipt.unit_price_micros) + " " + priceUnit()],
        [t("amount"), money(receipt.amount_minor)],
        [t("discount"), money(-(receipt.discount_minor || 0) - (receipt.group_rebate_minor || 0))],
        [t("charged"), money(receipt.charged_minor), "strong"],
        [t("finish"), TEXTS["finish_" + end.finish] ? t("finish_" + end.finish) : end.finish],
        [t("r_ended"), when(receipt.ended_at)],
        [t("r_sale"), receipt.sale_id, "id"],
        [t("r_order"), receipt.order_id, "id"]
      ]);
    }
    pairs("problem-rows", [[t("r_sale"), end.sale_id || "–", "id"], [t("r_order"), order.order_id, "id"]]);
    fill("poster", [order.order_id, $("share-box").open], function (box) {
      if (!$("share-box").open) return;
      var image = el("img");
      image.alt = t("poster_alt");
      image.src = "/api/v1/orders/" + encodeURIComponent(order.order_id) + "/poster.svg?lang=" + F.language();
      box.appendChild(image);
    });
    put("invoice-now", S.invoiced[order.order_id] ? t("invoice_done") : "");
    $("invoice-go").disabled = Boolean(S.invoiced[order.order_id]);
  }

  function renderSteps(order) {
    var names = ["ordered", "paid", "armed", "fuelling", order.state === "completed" || !ended(order) ? "completed" : "ended"];
    var at = {};
    (order.steps || []).forEach(function (step) { at[step.step] = step.at; });
    if (!at.fuelling) at.fuelling = at.lifted;
    var current = { awaiting_payment: 0, paid: 1, queued: 1, armed: 2, lifted: 3, fuelling: 3, review: 3 }[order.state];
    if (current === undefined) current = 4;
    var rows = names.map(function (name, i) {
      var reached = ended(order) ? i === 4 || order.state === "completed" || Boolean(at[name]) : i <= current;
      return { text: t("step_" + name), at: at[name] && reached ? clock(at[name]) : "", kind: !reached ? "" : i === current && !ended(order) ? "now" : "done" };
    });
    fill("steps", rows, function (box) {
      rows.forEach(function (row) {
        var item = el("li", row.kind);
        item.appendChild(el("span", "mark"));
        item.appendChild(el("span", "word", row.text));
        if (row.kind) item.appendChild(el("span", "unseen", row.kind === "now" ? t("step_now") : t("step_done")));
        if (row.kind === "now") item.setAttribute("aria-current", "step");
        item.appendChild(el("span", "note", row.at));
        box.appendChild(item);
      });
    });
  }

  // ---- the list of orders

  async function loadOrders() {
    if (!S.member) return;
    try { S.orders = (await call("GET", "/orders")).orders; render(); } catch (refusal) { if (S.view === "orders") refuse(refusal, loadOrders); }
  }
  function renderOrders() {
    document.title = t("orders");
    var list = S.orders;
    var member = S.member;
    show("wallet", Boolean(member));
    if (member) pairs("wallet", [[t("wallet"), money(member.wallet_minor || 0)], [t("points"), String(member.points || 0)]]);
    show("orders-none", Boolean(list && !list.length));
    show("orders-list", Boolean(list && list.length));
    fill("orders-list", list, function (box) {
      (list || []).forEach(function (order) {
        var item = el("li");
        var link = el("a", "row");
        link.href = "#order=" + encodeURIComponent(order.order_id);
        link.setAttribute("data-key", order.order_id);
        var words = el("span");
        words.appendChild(el("b", "", said(order.grade_name) + " · " + t("nozzle", { n: order.nozzle })));
        words.appendChild(el("span", "note", when(order.since || "").slice(0, 16) + " · " + t("state_" + order.state)));
        link.appendChild(words);
        var end = order.end;
        link.appendChild(el("span", "sum", money(end && end.kind === "completed" ? end.charged_minor : ended(order) ? 0 : order.payable_minor)));
        item.appendChild(link);
        box.appendChild(item);
      });
    });
  }

  // ---- the line

  F.onLost = function (how) {
    if (S.lost === how) return;
    var was = S.lost;
    S.lost = how;
    if (how) { put("line", t("line_" + how)); say(t("line_" + how)); } else if (was) say(t("line_back"));
    show("line", Boolean(how));
  };
  F.onRefused = refuse;

  // ---- views

  function go(view, id, quiet) {
    var hash = view === "order" ? "#order=" + encodeURIComponent(id) : view === "orders" ? "#orders" : "#";
    S.view = view;
    if (location.hash !== hash && !(hash === "#" && location.hash === "")) {
      S.quiet = Boolean(quiet);
      location.hash = hash;
    } else if (!quiet) open();
  }
  window.addEventListener("hashchange", function () {
    if (S.quiet) { S.quiet = false; return; }
    clearRefusal();
    open().then(function () { var id = S.view + "-title"; if ($(id).offsetParent) $(id).focus(); });
  });
  async function open() {
    var order = /^#order=(.+)$/.exec(location.hash);
    S.view = order ? "order" : location.hash === "#orders" ? "orders" : "pump";
    try {
      if (order) {
        var path = "/orders/" + order[1];
        if (!S.order || encodeURIComponent(S.order.order_id) !== order[1]) { S.order = null; render(); takeOrder(await call("GET", path)); }
        render();
        listen(path, onOrderData);
      } else {
        S.order = null;
        var nozzle = "/nozzles/" + encodeURIComponent(QR);
        render();
        takeNozzle(await call("GET", nozzle));
        loadOrders();
        if (S.view === "pump") listen(nozzle, function (name, data) { if (name === "nozzle") takeNozzle(data); });
        else {
          leave();
          if (!S.member) refuse({ error: "not_logged_in", own: "signin_first" });
        }
      }
    } catch (refusal) {
      refuse(refusal, open);
    }
  }
  function startAnew() {
    S.order = null; S.value = null; S.own = false; S.ownText = ""; S.last = false; S.coupon = undefined; S.changed = false;
    forget();
    go("pump");
  }

  function render() {
    F.currency = (S.view === "order" && S.order || S.nozzle || S.order || {}).currency || "CNY";
    var ready = { pump: S.nozzle, order: S.order, orders: S.orders }[S.view];
    show("loading", !ready && !S.refusal);
    ["pump", "order", "orders"].forEach(function (view) { show(view, S.view === view && Boolean(ready)); });
    if (S.view === "pump") renderPump(); else if (S.view === "order") renderOrder(); else renderOrders();
    renderRefusal();
  }
  function renderWords() {
    document.documentElement.lang = F.language() === "zh" ? "zh-CN" : "en";
    document.documentElement.className = "size-" + F.size();
    Array.prototype.forEach.call(document.querySelectorAll("[data-t]"), function (it) { it.textContent = t(it.getAttribute("data-t")); });
    Array.prototype.forEach.call(document.querySelectorAll("[data-label]"), function (it) { it.setAttribute("aria-label", t(it.getAttribute("data-label"))); });
    put("language", t("language"));
    $("language").lang = F.language() === "zh" ? "en" : "zh-CN";
    $("size").setAttribute("aria-label", t("size", { step: t("size_" + F.size()) }));
    $("size").title = t("size", { step: t("size_" + F.size()) });
    put("size-step", ["", "+", "++"][F.size() - 1]);
    if (S.lost) put("line", t("line_" + S.lost));
    $("pad").made = null;
    render();
  }

  // ---- hands

  function on(id, what, act) { $(id).addEventListener(what, act); }
  on("language", "click", function () { F.setLanguage(F.language() === "zh" ? "en" : "zh"); renderWords(); });
  on("size", "click", function () { F.setSize(F.size() % 3 + 1); renderWords(); say(t("size", { step: t("size_" + F.size()) })); });
  on("orders-link", "click", function () { go("orders"); });
  on("orders-back", "click", function () { go("pump"); });
  on("resume", "click", function () { var under = S.orders.filter(function (order) { return !ended(order); })[0]; if (under) go("order", under.order_id); });
  on("last", "click", useLast);
  on("form", "submit", function (event) { event.preventDefault(); pay(); });
  on("order-pay-go", "click", payOrder);
  on("cancel", "click", cancel);
  on("again", "click", startAnew);
  on("wrong-go", "click", move);
  on("signin-go", "click", signIn);
  on("plate-go", "click", addVehicle);
  on("invoice-go", "click", invoice);
  on("share-box", "toggle", function () { if (S.order) renderEnd(S.order); });
  on("print", "click", function () { window.print(); });
  on("own", "input", function () { own($("own").value); });
  // Enter in a field does what stands beside it, not the form's payment.
  [["own", function () { $("pay").focus(); }], ["phone", signIn], ["plate", addVehicle]].forEach(function (pair) {
    on(pair[0], "keydown", function (event) { if (event.key === "Enter") { event.preventDefault(); pair[1](); } });
  });
  Array.prototype.forEach.call(document.getElementsByName("mode"), function (input) {
    input.addEventListener("change", function () { S.own = false; S.ownText = ""; pick(input.value, null); render(); });
    input.addEventListener("keydown", function (event) { if (event.key === "Enter") event.preventDefault(); });
  });

  renderWords();
  open();
})();
