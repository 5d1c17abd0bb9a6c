//! Answers in the shape of the real server: sorted JSON with non-ASCII escaped and a newline at the end, and the
//! framework's HTML pages.

use axum::{body::Body, response::Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;

/// JSON as the real server prints it. serde_json's maps are sorted by key, as there.
pub(crate) fn json_text(value: &impl Serialize) -> String {
    let text = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(text.len() + 1);
    escape(&text, &mut out);
    out.push('\n');
    out
}

/// Appends JSON text with everything outside ASCII as `\uXXXX`.
pub(crate) fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        if letter.is_ascii() {
            out.push(letter);
        } else {
            for unit in letter.encode_utf16(&mut [0; 2]) {
                out.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
}

/// An answer with a body.
pub(crate) fn body(status: StatusCode, content_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// A JSON answer.
pub(crate) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    body(status, "application/json", json_text(value))
}

/// `{"msg": ...}`.
pub(crate) fn message(status: StatusCode, msg: impl Into<String>) -> Response {
    json(status, &json!({ "msg": msg.into() }))
}

/// 204 without body and length, with the content type that the real server gives it.
pub(crate) fn no_content() -> Response {
    body(StatusCode::NO_CONTENT, "text/html; charset=utf-8", Body::empty())
}

/// `500 {"msg":"Server error"}`.
pub(crate) fn server_error() -> Response {
    message(StatusCode::INTERNAL_SERVER_ERROR, "Server error")
}

/// The framework's page for a status.
pub(crate) fn html(status: StatusCode) -> Response {
    let text = match status {
        StatusCode::NOT_FOUND => {
            "The requested URL was not found on the server. If you entered the URL manually please check your spelling \
             and try again."
        }
        StatusCode::METHOD_NOT_ALLOWED => "The method is not allowed for the requested URL.",
        StatusCode::RANGE_NOT_SATISFIABLE => "The server cannot provide the requested range.",
        StatusCode::INTERNAL_SERVER_ERROR => {
            "The server encountered an internal error and was unable to complete your request. Either the server is \
             overloaded or there is an error in the application."
        }
        _ => "The request could not be handled.",
    };
    let title = title(status);
    let page = format!(
        "<!doctype html>\n<html lang=en>\n<title>{} {title}</title>\n<h1>{title}</h1>\n<p>{text}</p>\n",
        status.as_u16()
    );
    body(status, "text/html; charset=utf-8", page)
}

fn title(status: StatusCode) -> &'static str {
    match status {
        StatusCode::RANGE_NOT_SATISFIABLE => "Requested Range Not Satisfiable",
        _ => status.canonical_reason().unwrap_or("Error"),
    }
}

/// 405 with the methods of the route.
pub(crate) fn not_allowed(allow: &'static str) -> Response {
    let mut response = html(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// 308 to another path on the same host, as routing does for doubled slashes.
pub(crate) fn redirect(host: &str, path: &str) -> Response {
    let url = format!("http://{host}{path}");
    let shown = url.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&#34;");
    let page = format!(
        "<!doctype html>\n<html lang=en>\n<title>Redirecting...</title>\n<h1>Redirecting...</h1>\n<p>You should be \
         redirected automatically to the target URL: <a href=\"{shown}\">{shown}</a>. If not, click the link.\n"
    );
    let mut response = body(StatusCode::PERMANENT_REDIRECT, "text/html; charset=utf-8", page);
    match HeaderValue::try_from(url) {
        Ok(location) => {
            response.headers_mut().insert(header::LOCATION, location);
            response
        }
        Err(_) => html(StatusCode::NOT_FOUND),
    }
}

/// The page of the HTTP server itself, before the application sees the request.
pub(crate) fn gateway_page(status: StatusCode, title: &str, detail: &str) -> Response {
    let page = format!(
        "<html>\n  <head>\n    <title>{title}</title>\n  </head>\n  <body>\n    <h1><p>{title}</p></h1>\n    \
         {detail}\n  </body>\n</html>\n"
    );
    body(status, "text/html", page)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn length(response: Response) -> usize {
        response.into_body().collect().await.unwrap().to_bytes().len()
    }

    #[tokio::test]
    async fn pages_are_as_long_as_the_real_ones() {
        assert_eq!(length(html(StatusCode::NOT_FOUND)).await, 207);
        assert_eq!(length(html(StatusCode::METHOD_NOT_ALLOWED)).await, 153);
        assert_eq!(length(html(StatusCode::INTERNAL_SERVER_ERROR)).await, 265);
        assert_eq!(length(redirect("127.0.0.1:18080", "/jobs/21/data/abs.txt")).await, 273);
        let detail = "Request Line is too large (4964 &gt; 4094)";
        assert_eq!(length(gateway_page(StatusCode::URI_TOO_LONG, "URI Too Long", detail)).await, 165);
    }

    #[test]
    fn json_is_sorted_and_ascii() {
        assert_eq!(
            json_text(&json!({"c_b": "caf\u{e9} \u{1f600}", "a_Z": null, "a_a": 1})),
            "{\"a_Z\":null,\"a_a\":1,\"c_b\":\"caf\\u00e9 \\ud83d\\ude00\"}\n"
        );
    }
}
