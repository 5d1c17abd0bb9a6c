//! A VOMS attribute certificate (RFC 5755 with the VOMS attributes), written as DER and signed by the VOMS server's key.
//!
//! The layout follows one seen in a real proxy made by voms-proxy-fake: version, holder, issuer, validity, one attribute
//! with the FQANs, and the extensions for the server's certificate, "no revocation" and the authority's key.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::sign::Signer;
use openssl::x509::X509Ref;

use super::der;
use super::inspect::VOMS_ATTRIBUTES;
use super::issue::{Credential, Validity};

/// The extension of a proxy that holds a sequence of these certificates.
pub(super) const EXTENSION: &str = "1.3.6.1.4.1.8005.100.100.5";
const SERVER_CERTIFICATES: &[u64] = &[1, 3, 6, 1, 4, 1, 8005, 100, 100, 10];
const NO_REVOCATION: &[u64] = &[2, 5, 29, 56];
const AUTHORITY_KEY: &[u64] = &[2, 5, 29, 35];
const SHA256_WITH_RSA: &[u64] = &[1, 2, 840, 113549, 1, 1, 11];

/// The content of the proxy's VOMS extension: one attribute certificate for the person whose certificate is `holder`,
/// signed by `server`, whose key must be RSA: ARC's tools cannot verify any other signature here.
pub(super) fn extension_content(
    holder: &X509Ref,
    server: &Credential,
    uri: &str,
    fqans: &[String],
    validity: Validity,
) -> Result<Vec<u8>, ErrorStack> {
    let algorithm = der::of(der::SEQUENCE, &[&der::oid(SHA256_WITH_RSA), &der::value(der::NULL, &[])]);
    // RFC 5755 wants the issuer's name here; every VOMS server writes the subject's, and ARC's tools insist on it.
    let holder_serial = der::unsigned(&holder.serial_number().to_bn()?.to_vec());
    let holder = der::of(
        der::SEQUENCE,
        &[&der::of(der::context(0), &[&general_name(&holder.subject_name().to_der()?), &holder_serial])],
    );
    let issuer = der::of(der::context(0), &[&general_name(&server.cert.subject_name().to_der()?)]);
    let serial = der::unsigned(&fastrand::u64(1..1 << 62).to_be_bytes());
    let validity = der::of(der::SEQUENCE, &[&time(validity.from), &time(validity.until)]);
    let values: Vec<u8> = fqans.iter().flat_map(|fqan| der::value(der::OCTET_STRING, fqan.as_bytes())).collect();
    let syntax = der::of(
        der::SEQUENCE,
        &[
            &der::of(der::context(0), &[&der::value(der::context_primitive(6), uri.as_bytes())]),
            &der::value(der::SEQUENCE, &values),
        ],
    );
    let attribute = der::of(der::SEQUENCE, &[&der::oid(VOMS_ATTRIBUTES), &der::value(der::SET, &syntax)]);
    let key_id = server.cert.subject_key_id().map_or(&[][..], |id| id.as_slice());
    let info = der::of(
        der::SEQUENCE,
        &[
            &der::unsigned(&[1]), // version 2
            &holder,
            &issuer,
            &algorithm,
            &serial,
            &validity,
            &der::value(der::SEQUENCE, &attribute),
            &der::of(
                der::SEQUENCE,
                &[
                    &extension(
                        SERVER_CERTIFICATES,
                        &der::of(der::SEQUENCE, &[&der::value(der::SEQUENCE, &server.cert.to_der()?)]),
                    ),
                    &extension(NO_REVOCATION, &der::value(der::NULL, &[])),
                    &extension(
                        AUTHORITY_KEY,
                        &der::of(der::SEQUENCE, &[&der::value(der::context_primitive(0), key_id)]),
                    ),
                ],
            ),
        ],
    );
    let signature = Signer::new(MessageDigest::sha256(), &server.key)?.sign_oneshot_to_vec(&info)?;
    let signature = der::of(der::BIT_STRING, &[&[0], &signature]);
    let certificate = der::of(der::SEQUENCE, &[&info, &algorithm, &signature]);
    Ok(der::of(der::SEQUENCE, &[&der::value(der::SEQUENCE, &certificate)]))
}

/// GeneralNames with one directory name.
fn general_name(name: &[u8]) -> Vec<u8> {
    der::of(der::SEQUENCE, &[&der::value(der::context(4), name)])
}

fn extension(id: &[u64], content: &[u8]) -> Vec<u8> {
    der::of(der::SEQUENCE, &[&der::oid(id), &der::value(der::OCTET_STRING, content)])
}

fn time(seconds: i64) -> Vec<u8> {
    let at = jiff::Timestamp::from_second(seconds).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let text = at.strftime("%Y%m%d%H%M%SZ").to_string();
    der::value(der::GENERALIZED_TIME, text.as_bytes())
}
