//! That everyone can see, read, reach and hear it.

use serde_json::{Value, json};

use crate::browser::Browser;
use crate::money::{armed, at_the_nozzle, ended, fuelling, pay_as_last_time};
use crate::stand::Stand;

/// Every text that is seen: its colour against the first plain colour behind it, as a contrast of WCAG 2.2 (1.4.3), in hundredths.
pub const TOO_FAINT: &str = "
    function parts(c) { return c.match(/[\\d.]+/g).map(Number); }
    function light(c) {
        var p = parts(c).slice(0, 3).map(function (v) { v /= 255; return v <= 0.04045 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4); });
        return 0.2126 * p[0] + 0.7152 * p[1] + 0.0722 * p[2];
    }
    function behind(it) {
        for (; it; it = it.parentElement) {
            var style = getComputedStyle(it);
            if (style.backgroundImage !== 'none') throw new Error('a picture behind text');
            var p = parts(style.backgroundColor);
            if (p.length < 4 || p[3] === 1) return style.backgroundColor;
            if (p[3] !== 0) throw new Error('a half-clear background');
        }
        return 'rgb(255,255,255)';
    }
    var bad = [], seen = 0;
    Array.prototype.forEach.call(document.body.querySelectorAll('*'), function (it) {
        var own = it.tagName === 'INPUT' || Array.prototype.some.call(it.childNodes, function (n) { return n.nodeType === 3 && n.textContent.trim(); });
        if (!own || !it.getClientRects().length || it.className === 'unseen' || getComputedStyle(it).opacity === '0') return;
        seen += 1;
        var a = light(getComputedStyle(it).color), b = light(behind(it));
        var contrast = Math.floor(100 * (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05));
        if (contrast < 450) bad.push((it.id || it.className || it.tagName) + ' ' + it.textContent.slice(0, 20) + ' ' + contrast);
    });
    return [seen, bad];";

/// What is wider than the window, or too small to be tapped (48 px).
const MISFIT: &str = "
    var bad = [];
    var room = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth > room) bad.push('the page scrolls sideways: ' + document.documentElement.scrollWidth);
    Array.prototype.forEach.call(document.body.querySelectorAll('*'), function (it) {
        if (!it.getClientRects().length || it.className === 'unseen' || it.closest('svg')) return;
        var r = it.getBoundingClientRect();
        if (r.right > room + 1 || r.left < -1) bad.push((it.id || it.className || it.tagName) + ' ' + Math.round(r.left) + '..' + Math.round(r.right));
        if (it.scrollWidth > it.clientWidth + 1 && getComputedStyle(it).overflowX !== 'visible' && it.tagName !== 'INPUT') bad.push((it.id || it.className) + ' is cut off');
        var target = it.matches('button, a, summary, input[type=text], input[type=tel], label.choice, .tabs label');
        if (target && (r.height < 47.5 || r.width < 47.5)) bad.push('small: ' + (it.id || it.textContent) + ' ' + Math.round(r.width) + 'x' + Math.round(r.height));
    });
    return bad;";

const OPEN_ALL: &str =
    "Array.prototype.forEach.call(document.querySelectorAll('details'), function (it) { it.open = true; })";

/// Walks through what a driver sees and calls the check at each place.
fn tour(stand: &Stand, browser: &Browser, check: impl Fn(&str)) {
    stand.change(|world| {
        world.orders.clear();
        world.settled.clear();
        world.nozzle["refusal"] = Value::Null;
    });
    browser.open("about:blank");
    browser.open(&stand.url());
    browser.seen("pump");
    check("1-nozzle");
    browser.click("#last");
    check("2-chosen");
    browser.click("#presets button:last-child");
    browser.seen("pad");
    browser.run(OPEN_ALL);
    check("3-number-pad");
    browser.open("about:blank");
    browser.open(&stand.url());
    pay_as_last_time(browser);
    stand.order(&json!({"station_online": false}));
    browser.until("document.getElementById('code-box').open && document.querySelector('#qr img').naturalWidth > 0");
    check("4-code");
    stand.order(&json!({"station_online": true}));
    stand.order(&armed());
    let deadline = browser.run("return new Date(Date.now() + 118000).toISOString()");
    stand.order(&json!({"lift_deadline": deadline}));
    browser.run("document.getElementById('code-box').open = false");
    browser.until("document.getElementById('order-face').className === 'face armed'");
    check("5-armed");
    stand.order(&fuelling());
    stand.order(&json!({"live":{"volume_ml":12340,"amount_minor":9193}}));
    browser.until("document.getElementById('live-volume').textContent === '12.34'");
    check("6-fuelling");
    stand.order(&ended("accepted"));
    browser.until("document.getElementById('order-face').className === 'face completed'");
    check("7-done");
    browser.run(OPEN_ALL);
    check("8-done-open");
    browser.click("#orders-link");
    browser.seen("orders-list");
    check("9-orders");
    stand.change(|world| world.nozzle["refusal"] = json!({"error":"tank_low","text":{"zh":"该油品库存不足,请选择其他油枪","en":"Too little of this fuel is left: choose another nozzle"}}));
    browser.open(&stand.url());
    browser.seen("refusal-steps");
    check("10-refused");
    stand.change(|world| world.nozzle["refusal"] = json!({"error":"emergency","text":{"zh":"请立即停止使用手机并离开加油区","en":"Put the phone away and leave the forecourt now"}}));
    browser.until("document.body.classList.contains('alarm')");
    check("11-alarm");
}

/// Puts the page into a language and a text size by its own buttons, and tells what is a misfit once its pictures are there. No page load:
/// what is seen stays as it is, and a dozen dresses cost less than one load.
fn misfits(browser: &Browser, language: &str, size: u8) -> Value {
    browser.run_async(&format!(
        "var done = arguments[0], root = document.documentElement;
         for (var i = 0; i < 3 && root.lang.slice(0, 2) !== '{language}'; i += 1) document.getElementById('language').click();
         for (i = 0; i < 4 && root.className !== 'size-{size}'; i += 1) document.getElementById('size').click();
         var pictures = Array.prototype.filter.call(document.images, function (it) {{ return !it.complete; }}).map(function (it) {{
             return new Promise(function (ready) {{ it.addEventListener('load', ready); it.addEventListener('error', ready); }});
         }});
         Promise.all(pictures).then(function () {{
             var dress = root.lang.slice(0, 2) + ' ' + root.className;
             done([dress, (function () {{ {MISFIT} }})()]);
         }});"
    ))
}

#[test]
fn nothing_is_cut_off_or_too_small_on_any_screen_in_any_language_or_size() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    tour(&stand, &browser, |place| {
        // The telephone last, for that is what the tour goes on with.
        for (width, height) in [(1366, 768), (768, 1024), (360, 740)] {
            browser.size(width, height);
            browser.until(&format!("matchMedia('(width: {width}px)').matches"));
            for (language, size) in [("en", 3), ("en", 1), ("zh", 3), ("zh", 1)] {
                let found = misfits(&browser, language, size);
                browser.shot(&format!("{width}-{language}-size{size}-{place}"));
                let dress = format!("{language} size-{size}");
                assert_eq!(found, json!([dress, []]), "at {place}, {width} px, {language}, text size {size}");
            }
        }
    });
}

#[test]
fn every_text_stands_out_by_day_and_by_night() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    tour(&stand, &browser, |place| {
        for dark in [true, false] {
            browser.dark(dark);
            let page = browser.run("return getComputedStyle(document.body).backgroundColor");
            assert_eq!(page == "rgb(237, 241, 240)", !dark, "{page}");
            if dark {
                browser.shot(&format!("360-dark-{place}"));
            }
            let found = browser.run(TOO_FAINT);
            assert!(found[0].as_i64() > Some(3), "{place}: {found}");
            assert_eq!(found[1], json!([]), "at {place}, dark: {dark}");
        }
    });
}

#[test]
fn each_control_has_a_name_and_each_view_one_heading() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "en", true) else { return };
    browser.cdp("Accessibility.enable", json!({}));
    tour(&stand, &browser, |place| {
        let tree = browser.cdp("Accessibility.getFullAXTree", json!({}));
        let nodes = tree["nodes"].as_array().expect("nodes");
        let seen: Vec<_> = nodes.iter().filter(|node| node["ignored"] == false).collect();
        let controls: Vec<_> = seen
            .iter()
            .filter(|node| {
                let role = node["role"]["value"].as_str().unwrap_or_default();
                [
                    "button",
                    "link",
                    "textbox",
                    "radio",
                    "checkbox",
                    "combobox",
                    "DisclosureTriangle",
                    "image",
                    "group",
                    "region",
                    "navigation",
                ]
                .contains(&role)
            })
            .collect();
        assert!(controls.len() >= 3, "{place}: {} controls", controls.len());
        for node in &controls {
            let name = node["name"]["value"].as_str().unwrap_or_default();
            assert!(
                !name.trim().is_empty() || node["role"]["value"] == "group",
                "{place}: a control without a name: {node}"
            );
        }
        for role in ["banner", "main", "status"] {
            assert_eq!(seen.iter().filter(|node| node["role"]["value"] == role).count(), 1, "{place}: {role}");
        }
        let headings = browser.run("return Array.prototype.filter.call(document.querySelectorAll('h1'), function (it) { return it.offsetParent; }).length");
        assert_eq!(headings, i64::from(place != "11-alarm"), "{place}");
    });
}

/// axe-core knows more rules than these tests; it is an npm package, so this runs where `PAGE_AXE` names its `axe.min.js`.
#[test]
fn axe_core_finds_nothing() {
    let Some(axe) = std::env::var_os("PAGE_AXE") else {
        eprintln!("skipped: no axe-core; npm install axe-core, and name its axe.min.js in PAGE_AXE to run this test");
        return;
    };
    let axe = std::fs::read_to_string(axe).expect("axe-core is there");
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "zh-CN", true) else { return };
    for dark in [false, true] {
        browser.dark(dark);
        tour(&stand, &browser, |place| {
            let found = browser.run_async(&format!(
                "{axe}; var done = arguments[0]; axe.run(document).then(function (r) {{ done([r.passes.length, r.violations.map(function (v) {{ \
                 return [v.id, v.help, v.nodes.map(function (n) {{ return n.html; }})]; }})]); }})"
            ));
            assert!(found[0].as_i64() > Some(15), "{place}: {found}");
            assert_eq!(found[1], json!([]), "at {place}, dark: {dark}");
        });
    }
}

#[test]
fn language_and_text_size_are_remembered_and_the_phone_s_language_is_the_first() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "fr-FR", true) else { return };
    assert_eq!(browser.text("pump-title"), "Nozzle 3");
    assert_eq!(browser.run("return document.documentElement.lang"), "en");
    browser.click("#language");
    browser.reads_as("pump-title", "3 号枪");
    browser.click("#size");
    let size = "return getComputedStyle(document.documentElement).fontSize";
    assert_eq!(browser.run(size), "20px");
    browser.reload();
    browser.reads_as("pump-title", "3 号枪");
    assert_eq!(browser.run("return document.documentElement.lang"), "zh-CN");
    assert_eq!(browser.run(size), "20px");
}

#[test]
fn motion_is_left_out_for_those_who_ask() {
    let stand = Stand::start();
    let Some(browser) = at_the_nozzle(&stand, "en", true) else { return };
    let motion = "return getComputedStyle(document.getElementById('meter-bar')).transitionDuration";
    assert_eq!(browser.run(motion), "0.4s");
    browser.cdp(
        "Emulation.setEmulatedMedia",
        json!({"features": [{"name": "prefers-reduced-motion", "value": "reduce"}]}),
    );
    assert_eq!(browser.run(motion), "0s");
}

#[test]
fn what_others_wrote_is_shown_as_text() {
    let stand = Stand::start();
    let evil = "<img src=x onerror=\"window.hit = 1\">";
    stand.change(|world| {
        world.nozzle["station"]["name"] = json!({"zh": evil, "en": evil});
        world.nozzle["grade_name"] = json!({"zh": evil, "en": evil});
        world.member["vehicles"][0]["plate_masked"] = json!(evil);
        world.nozzle["refusal"] = json!({"error": "tank_low", "text": {"zh": evil, "en": evil}});
    });
    let Some(browser) = at_the_nozzle(&stand, "en", true) else { return };
    browser.reads_as("refusal-text", evil);
    assert_eq!(browser.text("station"), evil);
    assert_eq!(browser.run("return [document.images.length, typeof window.hit]"), json!([0, "undefined"]));
    // And where markup does get in, the policy keeps it from running.
    let blocked = browser.run("var s = document.createElement('script'); s.textContent = 'window.hit = 1'; document.body.appendChild(s); return typeof window.hit");
    assert_eq!(blocked, "undefined");
}
