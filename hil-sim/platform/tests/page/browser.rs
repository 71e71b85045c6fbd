//! Chromium, driven through chromedriver.
//!
//! WebDriver (W3C) is JSON over HTTP, and a dozen calls are all that is needed here. The crates for it bring some fifty others, ICU twice
//! among them, which is why this is written by hand.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

/// How long something on the page may take before a test gives up on it; generous, for a machine that does other things too.
const PATIENCE: Duration = Duration::from_secs(20);

const FLAGS: [&str; 9] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/// A browser of its own with an empty profile; ends with the value.
pub struct Browser {
    chromedriver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// None, and says so, where there is no Chromium.
    pub fn start() -> Option<Self> {
        let there = |name: &str| {
            std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|at| at.join(name).is_file()))
        };
        if !there("chromedriver") || !there("chromium") {
            eprintln!(
                "skipped: chromium is not there; install chromium, chromium-driver and fonts-noto-cjk to run this test"
            );
            return None;
        }
        let profile = tempfile::tempdir().expect("a directory for the profile");
        let mut chromedriver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let mut said = BufReader::new(chromedriver.stdout.take().expect("piped")).lines();
        let port = said
            .by_ref()
            .map_while(Result::ok)
            .find_map(|line| line.split("started successfully on port ").nth(1)?.trim_end_matches('.').parse().ok())
            .expect("chromedriver names its port");
        thread::spawn(move || said.for_each(drop));
        let mut arguments: Vec<String> = FLAGS.map(str::to_owned).to_vec();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let mut browser = Self { chromedriver, port, session: String::new(), _profile: profile };
        let wanted = json!({"capabilities": {"alwaysMatch": {"browserName": "chrome", "goog:chromeOptions": {"args": arguments}}}});
        let made = browser.call("POST", "/session", &wanted);
        browser.session = made["sessionId"].as_str().expect("a session").to_owned();
        Some(browser)
    }

    /// One HTTP exchange with chromedriver; panics with its message if it refuses.
    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let (status, value) = self.try_call(method, path, body);
        assert!(status == 200, "chromedriver: {method} {path}: {}", value["message"]);
        value
    }

    fn try_call(&self, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).expect("chromedriver listens");
        stream.set_read_timeout(Some(Duration::from_secs(90))).expect("a timeout can be set");
        let body = if method == "POST" { body.to_string() } else { String::new() };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )
        .expect("chromedriver reads");
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).expect("a status line");
        let status = line.split(' ').nth(1).and_then(|word| word.parse().ok()).expect("a status");
        let mut length = 0;
        loop {
            line.clear();
            reader.read_line(&mut line).expect("a header");
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().expect("a length");
            }
        }
        let mut answer = vec![0; length];
        reader.read_exact(&mut answer).expect("the whole answer");
        let mut answer: Value = serde_json::from_slice(&answer).expect("JSON");
        (status, answer["value"].take())
    }

    fn here(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), body)
    }

    /// A command of the Chrome DevTools protocol.
    pub fn cdp(&self, command: &str, params: Value) -> Value {
        self.here("POST", "/goog/cdp/execute", &json!({"cmd": command, "params": params}))
    }

    /// A phone, tablet or desk of that many CSS pixels.
    pub fn size(&self, width: u32, height: u32) {
        self.cdp(
            "Emulation.setDeviceMetricsOverride",
            json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800}),
        );
    }

    pub fn dark(&self, dark: bool) {
        let value = if dark { "dark" } else { "light" };
        self.cdp("Emulation.setEmulatedMedia", json!({"features": [{"name": "prefers-color-scheme", "value": value}]}));
    }

    /// What the browser says its user reads: the page's language at the first visit.
    pub fn reads(&self, language: &str) {
        let agent = self.run("return navigator.userAgent");
        self.cdp("Emulation.setUserAgentOverride", json!({"userAgent": agent, "acceptLanguage": language}));
    }

    pub fn open(&self, url: &str) {
        self.here("POST", "/url", &json!({"url": url}));
    }

    pub fn reload(&self) {
        self.here("POST", "/refresh", &json!({}));
    }

    /// Runs a function body in the page.
    pub fn run(&self, script: &str) -> Value {
        self.here("POST", "/execute/sync", &json!({"script": script, "args": []}))
    }

    /// Runs a function body that ends by calling `arguments[0]`, outside of the page's policy.
    pub fn run_async(&self, script: &str) -> Value {
        self.here("POST", "/execute/async", &json!({"script": script, "args": []}))
    }

    /// Waits until the expression is true in the page.
    pub fn until(&self, expression: &str) {
        let end = Instant::now() + PATIENCE;
        let script = format!("return Boolean({expression})");
        while self.run(&script) != Value::Bool(true) {
            assert!(
                Instant::now() < end,
                "never true: {expression}\nthe page shows:\n{}",
                self.run("return document.body.innerText")
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the element is seen.
    pub fn seen(&self, id: &str) {
        self.until(&format!("document.getElementById('{id}') && document.getElementById('{id}').offsetParent"));
    }

    /// Waits until the element has this text.
    pub fn reads_as(&self, id: &str, text: &str) {
        self.until(&format!(
            "document.getElementById('{id}').offsetParent && document.getElementById('{id}').textContent === {}",
            json!(text)
        ));
    }

    pub fn text(&self, id: &str) -> String {
        self.run(&format!("return document.getElementById('{id}').textContent")).as_str().expect("text").to_owned()
    }

    /// A real click, which fails if something lies over the element.
    pub fn click(&self, css: &str) {
        self.until(&format!("document.querySelector({0}) && document.querySelector({0}).offsetParent", json!(css)));
        let found = self.here("POST", "/element", &json!({"using": "css selector", "value": css}));
        let element =
            found.as_object().and_then(|it| it.values().next()).and_then(Value::as_str).expect("an element").to_owned();
        // In the middle of the window, away from what sticks to its edges.
        self.run(&format!(
            "document.querySelector({}).scrollIntoView({{block: 'center', behavior: 'instant'}})",
            json!(css)
        ));
        self.here("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Keys one after the other, to whatever has the focus.
    pub fn press(&self, keys: &[char]) {
        let actions: Vec<Value> = keys
            .iter()
            .flat_map(|key| [json!({"type": "keyDown", "value": key}), json!({"type": "keyUp", "value": key})])
            .collect();
        self.here("POST", "/actions", &json!({"actions": [{"type": "key", "id": "keyboard", "actions": actions}]}));
    }

    /// Two taps as fast as the browser takes them.
    pub fn double_tap(&self, css: &str) {
        let place = self.run(&format!(
            "var r = document.querySelector({}).getBoundingClientRect(); return [Math.round(r.left + r.width / 2), Math.round(r.top + r.height / 2)]",
            json!(css)
        ));
        let tap = [json!({"type": "pointerDown", "button": 0}), json!({"type": "pointerUp", "button": 0})];
        let mut actions = vec![json!({"type": "pointerMove", "duration": 0, "x": place[0], "y": place[1]})];
        actions.extend(tap.iter().cloned().chain(tap.iter().cloned()));
        self.here(
            "POST",
            "/actions",
            &json!({"actions": [{"type": "pointer", "id": "finger", "parameters": {"pointerType": "touch"}, "actions": actions}]}),
        );
    }

    /// A picture of the window, where `PAGE_SHOTS` names a directory for them; of the whole page with `PAGE_SHOTS_WHOLE`.
    pub fn shot(&self, name: &str) {
        let Some(directory) = std::env::var_os("PAGE_SHOTS").map(PathBuf::from) else { return };
        let beyond = std::env::var_os("PAGE_SHOTS_WHOLE").is_some();
        let picture = self.cdp("Page.captureScreenshot", json!({"format": "png", "captureBeyondViewport": beyond}));
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(picture["data"].as_str().expect("a picture"))
            .expect("base64");
        fs::create_dir_all(&directory).expect("a directory for pictures");
        fs::write(directory.join(format!("{name}.png")), bytes).expect("the picture is written");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() && !thread::panicking() {
            let _ = self.try_call("DELETE", &format!("/session/{}", self.session), &Value::Null);
        }
        let _ = self.chromedriver.kill();
        let _ = self.chromedriver.wait();
    }
}
