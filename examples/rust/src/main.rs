//! A complete agent in Rust: it reads its context, follows the comments of a review, and stores a result.
//!
//! It keeps on when the sidecar restarts: calls are repeated, and the subscription continues after its cursor.

use std::collections::HashMap;
use std::env;
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, bail};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use prost::Message;
use prost_types::value::Kind;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_types::StatusExt;

pub mod google {
    pub mod api {
        tonic::include_proto!("google.api");
    }
}
pub mod orchestra {
    pub mod v1 {
        tonic::include_proto!("orchestra.v1");
    }
}

use orchestra::v1::agent_service_client::AgentServiceClient;
use orchestra::v1::context_service_client::ContextServiceClient;
use orchestra::v1::event_service_client::EventServiceClient;
use orchestra::v1::result_service_client::ResultServiceClient;
use orchestra::v1::*;

/// An agent's token can be exchanged in its last five minutes.
const REFRESH_BEFORE: Duration = Duration::from_secs(240);
const GIVE_UP_AFTER: Duration = Duration::from_secs(120);

struct Agent {
    id: String,
    agent_type: String,
    issue: String,
    token: String,
    channel: Channel,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}", describe(&error));
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let target = env::var("SIDECAR_GRPC").context("SIDECAR_GRPC is not set")?;
    let mut agent = Agent {
        id: env::var("AGENT_ID").context("AGENT_ID is not set")?,
        agent_type: env::var("AGENT_TYPE").context("AGENT_TYPE is not set")?,
        issue: env::var("ISSUE_ID").context("ISSUE_ID is not set")?,
        token: env::var("JWT_TOKEN").context("JWT_TOKEN is not set")?,
        channel: Endpoint::from_shared(format!("http://{target}"))?.connect_lazy(),
    };
    let read = agent.read_context().await?;
    println!("context: {} files, {} bytes", read.relevant_files.len(), read.encoded_len());
    let started = agent.publish("implementation_started").await?;
    let comments = agent.follow_review(started).await?;
    agent.store_result(&read, comments).await?;
    agent.publish("implementation_complete").await?;
    Ok(())
}

impl Agent {
    /// Reads a context of any size; `get_context` is limited by the client, by default to 4 MB.
    async fn read_context(&mut self) -> Result<Context> {
        let mut patience = Patience::new();
        loop {
            match self.try_read_context().await {
                Ok(read) => return Ok(read),
                Err(status) => patience.wait(status).await?,
            }
        }
    }

    async fn try_read_context(&mut self) -> Result<Context, Status> {
        let request = StreamContextRequest {
            issue_id: self.issue.clone(),
            agent_type: self.agent_type.clone(),
            ..Default::default()
        };
        let request = self.authorised(request).await?;
        let mut parts = ContextServiceClient::new(self.channel.clone()).stream_context(request).await?.into_inner();
        let mut read = Context::default();
        while let Some(part) = parts.message().await? {
            if let Some(fragment) = part.fragment {
                // Fragments are encoded messages that merge.
                read.merge(fragment.encode_to_vec().as_slice()).map_err(|e| Status::internal(e.to_string()))?;
            }
        }
        Ok(read)
    }

    /// Announces something about the issue once, however often the call has to be repeated.
    async fn publish(&mut self, event_type: &str) -> Result<String> {
        let mut patience = Patience::new();
        loop {
            let request = PublishEventRequest {
                event_type: event_type.into(),
                topic: "implementation".into(),
                idempotency_key: format!("{} {event_type}", self.id),
                ..Default::default()
            };
            let published = match self.authorised(request).await {
                Ok(request) => EventServiceClient::new(self.channel.clone()).publish_event(request).await,
                Err(status) => Err(status),
            };
            match published {
                Ok(response) => return Ok(response.into_inner().event_id),
                Err(status) => patience.wait(status).await?,
            }
        }
    }

    /// Handles each comment after the cursor once, until the review is finished.
    async fn follow_review(&mut self, mut cursor: String) -> Result<u32> {
        let mut comments = 0;
        let mut patience = Patience::new();
        loop {
            match self.try_follow_review(&mut cursor, &mut comments).await {
                Ok(true) => return Ok(comments),
                Ok(false) => patience = Patience::new(),
                Err(error) => match error.downcast::<Status>() {
                    Ok(status) => patience.wait(status).await?,
                    Err(other) => return Err(other),
                },
            }
        }
    }

    /// Returns true when the review is finished, false when the stream has ended before.
    async fn try_follow_review(&mut self, cursor: &mut String, comments: &mut u32) -> Result<bool> {
        let request = SubscribeRequest {
            event_types: vec!["review_comment".into(), "review_finished".into()],
            since: cursor.clone(),
            ..Default::default()
        };
        let request = self.authorised(request).await?;
        let mut batches = EventServiceClient::new(self.channel.clone()).subscribe(request).await?.into_inner();
        while let Some(batch) = batches.message().await? {
            if let Some(gap) = batch.gap {
                bail!("{} events are no longer retained", gap.missed);
            }
            for event in batch.events {
                if event.event_type == "review_finished" {
                    return Ok(true);
                }
                *comments += 1;
                println!("comment {}", number(&event).unwrap_or(f64::NAN));
            }
            *cursor = batch.cursor;
        }
        Ok(false)
    }

    async fn store_result(&mut self, read: &Context, comments: u32) -> Result<()> {
        let mut patience = Patience::new();
        loop {
            let result = AgentResult {
                status: ResultStatus::Success.into(),
                decisions: vec!["every comment of the review was handled".into()],
                metrics: HashMap::from([
                    ("comments".into(), comments.into()),
                    ("context_bytes".into(), read.encoded_len() as f64),
                ]),
                ..Default::default()
            };
            let request = CreateResultRequest {
                result: Some(result),
                idempotency_key: "result".into(),
                ..Default::default()
            };
            let stored = match self.authorised(request).await {
                Ok(request) => ResultServiceClient::new(self.channel.clone()).create_result(request).await,
                Err(status) => Err(status),
            };
            match stored {
                Ok(_) => return Ok(()),
                Err(status) => patience.wait(status).await?,
            }
        }
    }

    /// Returns the request with a token that is still valid for a while.
    async fn authorised<T>(&mut self, message: T) -> Result<Request<T>, Status> {
        let left = expiry(&self.token).duration_since(SystemTime::now()).unwrap_or_default();
        if left < REFRESH_BEFORE {
            let request = with_token(RefreshTokenRequest {}, &self.token)?;
            let refreshed = AgentServiceClient::new(self.channel.clone()).refresh_token(request).await?;
            self.token = refreshed.into_inner().jwt_token;
        }
        with_token(message, &self.token)
    }
}

fn with_token<T>(message: T, token: &str) -> Result<Request<T>, Status> {
    let mut request = Request::new(message);
    let value = format!("Bearer {token}").parse().map_err(|_| Status::unauthenticated("JWT_TOKEN is not a token"))?;
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

fn expiry(token: &str) -> SystemTime {
    let seconds = token
        .split('.')
        .nth(1)
        .and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok())
        .and_then(|bytes| serde_json::from_slice::<serde_json::Value>(&bytes).ok())
        .and_then(|claims| claims["exp"].as_u64());
    UNIX_EPOCH + Duration::from_secs(seconds.unwrap_or_default())
}

fn number(event: &Event) -> Option<f64> {
    match event.data.as_ref()?.fields.get("number")?.kind.as_ref()? {
        Kind::NumberValue(number) => Some(*number),
        _ => None,
    }
}

/// Waits while the sidecar is not there to answer; gives up after two minutes.
struct Patience {
    since: SystemTime,
}

impl Patience {
    fn new() -> Self {
        Self { since: SystemTime::now() }
    }

    async fn wait(&mut self, status: Status) -> Result<()> {
        // tonic says "unknown" when a connection is lost in the middle of a stream, and "cancelled" of a request that a
        // closing connection no longer sent.
        let connection_lost = matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Cancelled);
        if !connection_lost || self.since.elapsed().unwrap_or_default() > GIVE_UP_AFTER {
            return Err(status.into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(())
    }
}

/// Adds the sidecar's error code, which REST shows too.
fn describe(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Status>() {
        Some(status) => match status.get_details_error_info() {
            Some(info) => format!("{}: {}", info.reason, status.message()),
            None => format!("{:?}: {}", status.code(), status.message()),
        },
        None => error.to_string(),
    }
}
