//! One HTTP request and its answer, over one connection.

use std::error::Error;
use std::io;
use std::sync::Arc;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{HeaderMap, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::super::error::EnrolError;
use super::Server;

/// Sixteen certificates of a large sort, in base64.
const BODY_LEN_MAX: usize = 192 * 1024;

/// Headers we read; hyper takes more for an error.
const HEADERS_MAX: usize = 64;

/// What is asked.
pub(super) struct Question {
    pub(super) path: String,
    pub(super) authorization: Option<HeaderValue>,
    /// A request for a certificate, in base64, where one is made.
    pub(super) body: Option<String>,
}

/// What was answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

impl Question {
    pub(super) async fn send(
        self,
        server: &Server,
        tls: Arc<ClientConfig>,
    ) -> Result<Answer, EnrolError> {
        let tcp = TcpStream::connect((server.host.as_str(), server.port)).await;
        let tls =
            TlsConnector::from(tls).connect(server.name.clone(), tcp.map_err(EnrolError::io)?);
        let stream = TokioIo::new(tls.await.map_err(EnrolError::io)?);
        let mut http = http1::Builder::new();
        http.max_headers(HEADERS_MAX);
        let (mut sender, connection) = http
            .handshake(stream)
            .await
            .map_err(|error| failed(&error))?;
        let request = self.request(server)?;
        let exchange = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| failed(&error))?;
            answer(response).await
        };
        tokio::pin!(exchange, connection);
        tokio::select! {
            answer = &mut exchange => answer,
            // The connection may be done before the last of the answer is read.
            ended = &mut connection => match ended {
                Ok(()) => exchange.await,
                Err(error) => Err(failed(&error)),
            },
        }
    }

    fn request(self, server: &Server) -> Result<Request<Full<Bytes>>, EnrolError> {
        let host = if server.host.contains(':') {
            format!("[{}]:{}", server.host, server.port)
        } else {
            format!("{}:{}", server.host, server.port)
        };
        let request = match self.body {
            Some(_) => Request::post(self.path)
                .header(CONTENT_TYPE, "application/pkcs10")
                .header("Content-Transfer-Encoding", "base64"),
            None => Request::get(self.path),
        };
        let mut request = request.header(HOST, host);
        if let Some(value) = self.authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let body = self.body.unwrap_or_default().into();
        request.body(body).map_err(|error| EnrolError::Protocol {
            what: error.to_string(),
        })
    }
}

async fn answer(response: Response<Incoming>) -> Result<Answer, EnrolError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, BODY_LEN_MAX).collect().await;
    let body = body.map_err(|error| EnrolError::Protocol {
        what: error.to_string(),
    })?;
    Ok(Answer {
        status: head.status,
        headers: head.headers,
        body: body.to_bytes(),
    })
}

/// In TLS 1.3 the server refuses our certificate when we read: its alert is the cause then.
fn failed(error: &hyper::Error) -> EnrolError {
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    let mut alert = None;
    while let Some(error) = cause {
        // An error of I/O does not name what it wraps as its source.
        let wrapped = error.downcast_ref().and_then(io::Error::get_ref);
        if let Some(rustls::Error::AlertReceived(found)) = wrapped.and_then(|it| it.downcast_ref())
        {
            alert = Some(*found);
        }
        cause = error.source();
    }
    match alert {
        Some(alert) => EnrolError::alert(alert),
        None => EnrolError::Protocol {
            what: error.to_string(),
        },
    }
}
