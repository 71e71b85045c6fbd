//! A driver's telephone: what the page asks of the platform, over HTTP on one kept connection as a browser's.

use anyhow::{Context as _, bail, ensure};
use forecourt::ids::NozzleId;
use reference_platform::rehearsal::POSITION;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;

/// For an answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A signed-in driver.
#[derive(Debug)]
pub struct Page {
    address: SocketAddr,
    stream: BufReader<TcpStream>,
    token: String,
    /// As the platform answered the sign-in.
    pub member: Value,
    keys: u64,
}

/// Status and JSON body; `null` for none.
pub type Reply = (u16, Value);

impl Page {
    /// Signs in with a telephone number of 11 digits, invited by a member at that member's station if one is named.
    ///
    /// # Errors
    /// If the platform does not answer, or refuses.
    pub async fn sign_in(address: SocketAddr, phone: &str, invited: Option<(&str, &str)>) -> anyhow::Result<Self> {
        let stream = connect(address).await?;
        let mut page = Self { address, stream, token: String::new(), member: Value::Null, keys: 0 };
        let mut who = json!({"phone": phone});
        if let Some((inviter, station)) = invited {
            who["inviter"] = inviter.into();
            who["station_id"] = station.into();
            who["lat_udeg"] = POSITION.lat_udeg.into();
            who["lon_udeg"] = POSITION.lon_udeg.into();
        }
        let mut signed = page.good("POST", "/api/v1/session", &who).await?;
        page.token = signed["token"].as_str().context("a session's token")?.to_owned();
        page.member = signed["member"].take();
        Ok(page)
    }

    /// The member's name at the platform.
    #[must_use]
    pub fn member_id(&self) -> &str {
        self.member["member_id"].as_str().unwrap_or("")
    }

    /// One call with the driver's session.
    ///
    /// # Errors
    /// If there is no answer; a refusal is one.
    pub async fn call(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Reply> {
        let token = self.token.clone();
        self.call_as(&token, method, path, "application/json", &body.to_string()).await
    }

    /// One call with another token and kind of content.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn call_as(
        &mut self,
        token: &str,
        method: &str,
        path: &str,
        kind: &str,
        body: &str,
    ) -> anyhow::Result<Reply> {
        let body = if method == "GET" { "" } else { body };
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
            self.address,
            body.len()
        );
        match tokio::time::timeout(PATIENCE, exchange(&mut self.stream, &request)).await {
            Ok(reply) => reply.with_context(|| format!("{method} {path}")),
            Err(_) => bail!("{method} {path}: no answer in {PATIENCE:?}"),
        }
    }

    /// A call that must be granted.
    ///
    /// # Errors
    /// If it is refused, with what the platform said.
    pub async fn good(&mut self, method: &str, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.call(method, path, body).await?;
        ensure!((200..300).contains(&status), "{method} {path} was answered {status}: {answer}");
        Ok(answer)
    }

    /// Places an order at the nozzle behind a code, at the price that its page shows; `with` adds members such as `coupon_id`.
    ///
    /// # Errors
    /// If there is no answer; a refusal is one.
    pub async fn place(&mut self, code: &str, limit: Value, with: &Value) -> anyhow::Result<Reply> {
        let nozzle = self.good("GET", &format!("/api/v1/nozzles/{code}"), &Value::Null).await?;
        self.keys += 1;
        let mut wanted = json!({"qr_token": code, "limit": limit, "unit_price_micros": nozzle["unit_price_micros"],
            "idempotency_key": format!("telephone-{:04}", self.keys)});
        for (name, value) in with.as_object().into_iter().flatten() {
            wanted[name] = value.clone();
        }
        self.call("POST", "/api/v1/orders", &wanted).await
    }

    /// Places an order and taps "pay". Gives the order as it is then.
    ///
    /// # Errors
    /// If either is refused.
    pub async fn buy(&mut self, code: &str, limit: Value, with: &Value) -> anyhow::Result<Value> {
        let (status, order) = self.place(code, limit, with).await?;
        ensure!(status == 201, "the order was answered {status}: {order}");
        self.pay(order["order_id"].as_str().context("an order's name")?).await
    }

    /// Taps "pay".
    ///
    /// # Errors
    /// If it is refused.
    pub async fn pay(&mut self, order: &str) -> anyhow::Result<Value> {
        self.good("POST", &format!("/api/v1/orders/{order}/pay"), &json!({})).await
    }

    /// The wallet.
    ///
    /// # Errors
    /// If there is no answer.
    pub async fn wallet(&mut self) -> anyhow::Result<Value> {
        self.good("GET", "/api/v1/wallet", &Value::Null).await
    }
}

/// The number of a nozzle in an answer.
#[must_use]
pub fn nozzle_of(order: &Value) -> NozzleId {
    NozzleId(order["nozzle"].as_u64().and_then(|number| u16::try_from(number).ok()).unwrap_or(0))
}

async fn connect(address: SocketAddr) -> anyhow::Result<BufReader<TcpStream>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("the platform at {address}"))?;
    stream.set_nodelay(true)?;
    Ok(BufReader::new(stream))
}

/// One request and its answer, whose length the platform always tells.
async fn exchange(stream: &mut BufReader<TcpStream>, request: &str) -> anyhow::Result<Reply> {
    stream.write_all(request.as_bytes()).await?;
    let (mut status, mut length) = (0, 0);
    loop {
        let mut line = String::new();
        ensure!(stream.read_line(&mut line).await? > 0, "the platform hung up");
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("HTTP/1.1 ") {
            status = rest.get(..3).and_then(|digits| digits.parse().ok()).context("a status")?;
        } else if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().context("a length")?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(&body)? };
    Ok((status, body))
}
