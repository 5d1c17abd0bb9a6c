//! Makes keys and certificates: the authority, end entities, proxies, and certificates that are wrong on purpose.
//!
//! Pure: it returns openssl objects and touches no file.

use openssl::asn1::{Asn1Integer, Asn1Object, Asn1OctetString, Asn1Time, Asn1Type};
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    AuthorityKeyIdentifier, BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Extension, X509Name, X509NameRef, X509Ref};

use super::voms;

const DAY: i64 = 24 * 3600;
/// `SEQUENCE { SEQUENCE { id-ppl-inheritAll } }`: a proxy with all of its issuer's rights and no limit on further ones.
const INHERIT_ALL: [u8; 14] = [0x30, 0x0c, 0x30, 0x0a, 0x06, 0x08, 0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x15, 0x01];

/// When a certificate is valid, in seconds since the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    pub(super) from: i64,
    pub(super) until: i64,
}

/// What a certificate of the authority is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose<'a> {
    /// A server known by these names; one that reads as an IP address becomes an address.
    Server(&'a [&'a str]),
    User,
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Credential {
    pub cert: X509,
    pub key: PKey<Private>,
}

pub(super) fn now() -> i64 {
    jiff::Timestamp::now().as_second()
}

impl Validity {
    /// From a month ago for this many days from now: the past is covered, so that an expired proxy can be issued.
    pub(super) fn days(days: i64) -> Validity {
        let now = now();
        Validity { from: now - 30 * DAY, until: now + days * DAY }
    }
}

/// A P-256 key: quick to make, for the authority and the servers.
pub(super) fn ec_key() -> Result<PKey<Private>, ErrorStack> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
    PKey::from_ec_key(EcKey::generate(&group)?)
}

/// An RSA 2048 key: what users and proxies have in the wild.
pub(super) fn rsa_key() -> Result<PKey<Private>, ErrorStack> {
    PKey::from_rsa(Rsa::generate(2048)?)
}

/// `DC=org, DC=act-sandbox, [O=organisation,] CN=cn`.
pub(super) fn name(organisation: Option<&str>, cn: &str) -> Result<X509Name, ErrorStack> {
    let mut name = X509Name::builder()?;
    for component in ["org", "act-sandbox"] {
        name.append_entry_by_nid_with_type(Nid::DOMAINCOMPONENT, component, Asn1Type::IA5STRING)?;
    }
    if let Some(organisation) = organisation {
        name.append_entry_by_nid(Nid::ORGANIZATIONNAME, organisation)?;
    }
    name.append_entry_by_nid_with_type(Nid::COMMONNAME, cn, Asn1Type::UTF8STRING)?;
    Ok(name.build())
}

/// A self-signed authority.
pub(super) fn authority(cn: &str) -> Result<Credential, ErrorStack> {
    let key = ec_key()?;
    let subject = name(None, cn)?;
    let mut builder = begin(&subject, &subject, &key, Validity::days(3650), &serial()?)?;
    builder.append_extension(BasicConstraints::new().critical().ca().build()?)?;
    builder.append_extension(KeyUsage::new().critical().key_cert_sign().crl_sign().build()?)?;
    let ski = SubjectKeyIdentifier::new().build(&builder.x509v3_context(None, None))?;
    builder.append_extension(ski)?;
    let cert = finish(builder, &key)?;
    Ok(Credential { cert, key })
}

/// A certificate for `key`, issued by `issuer` or, without one, self-signed.
pub(super) fn end_entity(
    issuer: Option<&Credential>,
    subject: &X509NameRef,
    key: &PKey<Private>,
    validity: Validity,
    purpose: Purpose<'_>,
) -> Result<X509, ErrorStack> {
    let issuer_name = issuer.map_or(subject, |issuer| issuer.cert.subject_name());
    let mut builder = begin(subject, issuer_name, key, validity, &serial()?)?;
    builder.append_extension(BasicConstraints::new().critical().build()?)?;
    builder.append_extension(KeyUsage::new().critical().digital_signature().key_encipherment().build()?)?;
    let issuer_cert: Option<&X509Ref> = issuer.map(|issuer| &*issuer.cert);
    let ski = SubjectKeyIdentifier::new().build(&builder.x509v3_context(issuer_cert, None))?;
    builder.append_extension(ski)?;
    if issuer.is_some() {
        let aki = AuthorityKeyIdentifier::new().keyid(true).build(&builder.x509v3_context(issuer_cert, None))?;
        builder.append_extension(aki)?;
    }
    match purpose {
        Purpose::Server(names) => {
            // A host certificate is used in both roles on the grid: A-REX fetches inputs with it.
            builder.append_extension(ExtendedKeyUsage::new().server_auth().client_auth().build()?)?;
            let mut alternatives = SubjectAlternativeName::new();
            for name in names {
                match name.parse::<std::net::IpAddr>() {
                    Ok(_) => alternatives.ip(name),
                    Err(_) => alternatives.dns(name),
                };
            }
            let alternatives = alternatives.build(&builder.x509v3_context(issuer_cert, None))?;
            builder.append_extension(alternatives)?;
        }
        Purpose::User => {
            builder.append_extension(ExtendedKeyUsage::new().client_auth().build()?)?;
        }
    }
    finish(builder, issuer.map_or(key, |issuer| &issuer.key))
}

/// An RFC 3820 proxy of `issuer` for `key`: the issuer's name and one CN more. `attributes` is the content of a VOMS
/// extension, if it is to carry one.
pub(super) fn proxy(
    issuer: &Credential,
    key: &PKey<Private>,
    validity: Validity,
    attributes: Option<&[u8]>,
) -> Result<X509, ErrorStack> {
    let number = fastrand::u32(100_000_000..).to_string();
    let mut subject = X509Name::builder()?;
    for entry in issuer.cert.subject_name().entries() {
        subject.append_entry(entry)?; // as it is: re-encoding a string would make another name of it
    }
    subject.append_entry_by_nid_with_type(Nid::COMMONNAME, &number, Asn1Type::PRINTABLESTRING)?;
    let serial = Asn1Integer::from_bn(&*BigNum::from_dec_str(&number)?)?;
    let issuer_name = issuer.cert.subject_name();
    let mut builder = begin(&subject.build(), issuer_name, key, validity, &serial)?;
    if let Some(attributes) = attributes {
        builder.append_extension(extension(voms::EXTENSION, false, attributes)?)?;
    }
    builder.append_extension(KeyUsage::new().critical().digital_signature().key_encipherment().build()?)?;
    builder.append_extension(extension("1.3.6.1.5.5.7.1.14", true, &INHERIT_ALL)?)?;
    finish(builder, &issuer.key)
}

fn extension(oid: &str, critical: bool, content: &[u8]) -> Result<X509Extension, ErrorStack> {
    let oid = Asn1Object::from_str(oid)?;
    X509Extension::new_from_der(&oid, critical, &*Asn1OctetString::new_from_bytes(content)?)
}

fn serial() -> Result<Asn1Integer, ErrorStack> {
    let mut number = BigNum::new()?;
    number.rand(63, MsbOption::ONE, false)?;
    number.to_asn1_integer()
}

fn begin(
    subject: &X509NameRef,
    issuer: &X509NameRef,
    key: &PKey<Private>,
    validity: Validity,
    serial: &Asn1Integer,
) -> Result<X509Builder, ErrorStack> {
    let mut builder = X509::builder()?;
    builder.set_version(2)?; // v3
    builder.set_serial_number(serial)?;
    builder.set_subject_name(subject)?;
    builder.set_issuer_name(issuer)?;
    builder.set_pubkey(key)?;
    builder.set_not_before(&*Asn1Time::from_unix(validity.from)?)?;
    builder.set_not_after(&*Asn1Time::from_unix(validity.until)?)?;
    Ok(builder)
}

fn finish(mut builder: X509Builder, key: &PKey<Private>) -> Result<X509, ErrorStack> {
    builder.sign(key, MessageDigest::sha256())?;
    Ok(builder.build())
}
