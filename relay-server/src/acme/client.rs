//! HTTP to the ACME server: HTTPS only, a connection for each request, bounded in time and size. There are some ten requests every two months.

use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use instant_acme::{BodyWrapper, BytesResponse, Error, HttpClient};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt as _;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::AcmeError;
use crate::tls::provider;

/// How long one request may take.
const WITHIN: Duration = Duration::from_secs(30);
/// The longest answer, in bytes. A chain has some 5,000.
const ANSWER_MAX: usize = 1 << 20;

pub(crate) struct Client {
    tls: TlsConnector,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    /// Trusts the system's authorities, or those in this file only.
    pub(crate) fn new(root: Option<&Path>) -> Result<Client, AcmeError> {
        let other = |e: Failure| AcmeError::Server(Error::Other(e));
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|e| other(e.into()))?;
        let config = match root {
            None => builder
                .with_platform_verifier()
                .map_err(|e| AcmeError::NoAuthorities(e.to_string()))?
                .with_no_client_auth(),
            Some(path) => {
                let file = |problem: String| AcmeError::Folder { path: path.to_owned(), problem };
                let mut roots = RootCertStore::empty();
                for root in CertificateDer::pem_file_iter(path).map_err(|e| file(e.to_string()))? {
                    let root = root.map_err(|e| file(e.to_string()))?;
                    roots.add(root).map_err(|e| file(e.to_string()))?;
                }
                builder.with_root_certificates(roots).with_no_client_auth()
            }
        };
        Ok(Client { tls: TlsConnector::from(Arc::new(config)) })
    }
}

impl HttpClient for Client {
    fn request(
        &self,
        request: Request<BodyWrapper<Bytes>>,
    ) -> Pin<Box<dyn Future<Output = Result<BytesResponse, Error>> + Send>> {
        let tls = self.tls.clone();
        Box::pin(async move {
            match tokio::time::timeout(WITHIN, exchange(tls, request)).await {
                Ok(Ok(response)) => Ok(BytesResponse::from(response)),
                Ok(Err(e)) => Err(Error::Other(e)),
                Err(_) => Err(Error::Str("an answer within 30 s")),
            }
        })
    }
}

async fn exchange(
    tls: TlsConnector,
    mut request: Request<BodyWrapper<Bytes>>,
) -> Result<Response<Full<Bytes>>, Failure> {
    let uri = request.uri().clone();
    let authority = uri.authority().filter(|_| uri.scheme_str() == Some("https"));
    let authority = authority.ok_or_else(|| format!("{uri} is not an https address"))?;
    let host = authority.host().trim_matches(['[', ']']);
    let name = ServerName::try_from(host.to_owned())?;
    let tcp = TcpStream::connect((host, authority.port_u16().unwrap_or(443)));
    let tcp = tcp.await.map_err(|e| format!("{authority} cannot be reached: {e}"))?;
    let stream = tls.connect(name, tcp).await.map_err(|e| format!("{authority}: {e}"))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with this, however this ends; how it went is seen in the answer.
    let mut driving = tokio::task::JoinSet::new();
    driving.spawn(connection);
    request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
    *request.uri_mut() = Uri::builder().path_and_query(uri.path_and_query().map_or("/", |p| p.as_str())).build()?;
    let (parts, body) = sender.send_request(request).await?.into_parts();
    let body = Limited::new(body, ANSWER_MAX).collect().await?.to_bytes();
    Ok(Response::from_parts(parts, Full::new(body)))
}
