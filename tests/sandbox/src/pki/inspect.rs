//! What a certificate says: its DN in openssl's slash form, whether it is a proxy, which VOMS attributes it carries.
//!
//! Reads only. It does not verify: a name found here is worth what the verification of the chain was worth.

use openssl::x509::{X509, X509NameRef, X509Ref};

use super::der::{self, Reader};

/// proxyCertInfo of RFC 3820.
pub(super) const PROXY_CERT_INFO: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 1, 14];
/// The extension that holds VOMS attribute certificates.
pub(super) const VOMS_AC_SEQUENCE: &[u64] = &[1, 3, 6, 1, 4, 1, 8005, 100, 100, 5];
/// The attribute, inside such a certificate, that holds the FQANs.
pub(super) const VOMS_ATTRIBUTES: &[u64] = &[1, 3, 6, 1, 4, 1, 8005, 100, 100, 4];

/// What a VOMS attribute certificate grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VomsAttributes {
    /// Where it comes from, as `VO://HOST:PORT`.
    pub uri: String,
    /// The FQANs in order, such as `/testvo/Role=NULL/Capability=NULL`; the first is the primary one.
    pub fqans: Vec<String>,
    /// Start of validity as `YYYYMMDDhhmmssZ`, UTC.
    pub not_before: String,
    /// End of validity as `YYYYMMDDhhmmssZ`, UTC.
    pub not_after: String,
}

/// A name in the one-line form of `X509_NAME_oneline`: `/DC=org/DC=nordugrid/CN=Test User`; bytes outside printable
/// ASCII are written `\xHH`.
pub fn oneline(name: &X509NameRef) -> String {
    let mut out = String::new();
    for entry in name.entries() {
        out.push('/');
        match entry.object().nid().short_name() {
            Ok(short) => out.push_str(short),
            Err(_) => out.push_str(&entry.object().to_string()),
        }
        out.push('=');
        for byte in entry.data().as_slice() {
            if (b' '..=b'~').contains(byte) {
                out.push(char::from(*byte));
            } else {
                out.push_str(&format!("\\x{byte:02X}"));
            }
        }
    }
    out
}

/// Whether this is an RFC 3820 proxy certificate.
pub fn is_proxy(cert: &X509Ref) -> bool {
    extension(cert, PROXY_CERT_INFO).is_some()
}

/// The DN of the person behind a chain (leaf first): the subject of the first certificate that is not a proxy. When the
/// chain stops short of it, the issuer of the last proxy seen. `None` for an empty chain.
pub fn base_dn(chain: &[X509]) -> Option<String> {
    let mut cert = chain.first()?;
    while is_proxy(cert) {
        let issuer = oneline(cert.issuer_name());
        // A proxy's subject is its issuer's and one CN more, so no name can come twice and the walk ends.
        match chain.iter().find(|c| oneline(c.subject_name()) == issuer) {
            Some(next) if oneline(next.subject_name()) != oneline(cert.subject_name()) => cert = next,
            _ => return Some(issuer),
        }
    }
    Some(oneline(cert.subject_name()))
}

/// The first FQAN of this certificate's own VOMS extension.
pub fn read_fqan(cert: &X509Ref) -> Option<String> {
    voms_attributes(cert)?.fqans.into_iter().next()
}

/// The first FQAN found along a chain (leaf first): a proxy of a VOMS proxy has the attributes in its issuer.
pub fn chain_fqan(chain: &[X509]) -> Option<String> {
    chain.iter().find_map(|cert| read_fqan(cert))
}

/// The attributes of the first attribute certificate in this certificate's VOMS extension.
pub fn voms_attributes(cert: &X509Ref) -> Option<VomsAttributes> {
    let extension = extension(cert, VOMS_AC_SEQUENCE)?;
    let mut certificates = Reader::new(&extension).enter(der::SEQUENCE)?.enter(der::SEQUENCE)?;
    let mut info = certificates.enter(der::SEQUENCE)?.enter(der::SEQUENCE)?;
    info.expect(der::INTEGER)?; // version
    info.expect(der::SEQUENCE)?; // holder
    info.any()?; // issuer
    info.expect(der::SEQUENCE)?; // signature algorithm
    info.expect(der::INTEGER)?; // serial number
    let mut validity = info.enter(der::SEQUENCE)?;
    let not_before = text(validity.expect(der::GENERALIZED_TIME)?);
    let not_after = text(validity.expect(der::GENERALIZED_TIME)?);
    let wanted = der::oid(VOMS_ATTRIBUTES);
    let mut attributes = info.enter(der::SEQUENCE)?;
    while let Some(mut attribute) = attributes.enter(der::SEQUENCE) {
        let id = attribute.expect(der::OID)?;
        if der::value(der::OID, id) != wanted {
            continue;
        }
        let mut syntax = attribute.enter(der::SET)?.enter(der::SEQUENCE)?;
        let uri = syntax.enter(der::context(0))?.expect(der::context_primitive(6))?;
        let mut values = syntax.enter(der::SEQUENCE)?;
        let mut fqans = Vec::new();
        while let Some(fqan) = values.expect(der::OCTET_STRING) {
            fqans.push(text(fqan));
        }
        return Some(VomsAttributes { uri: text(uri), fqans, not_before, not_after });
    }
    None
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The content of an extension, by its identifier.
fn extension(cert: &X509Ref, id: &[u64]) -> Option<Vec<u8>> {
    let encoded = cert.to_der().ok()?;
    let mut tbs = Reader::new(&encoded).enter(der::SEQUENCE)?.enter(der::SEQUENCE)?;
    tbs.skip_if(der::context(0)); // version
    tbs.expect(der::INTEGER)?; // serial number
    for _ in 0..5 {
        tbs.expect(der::SEQUENCE)?; // algorithm, issuer, validity, subject, public key
    }
    tbs.skip_if(der::context_primitive(1));
    tbs.skip_if(der::context_primitive(2));
    let mut extensions = tbs.enter(der::context(3))?.enter(der::SEQUENCE)?;
    let wanted = der::oid(id);
    while let Some(mut one) = extensions.enter(der::SEQUENCE) {
        let found = one.expect(der::OID)?;
        one.skip_if(0x01); // critical
        if der::value(der::OID, found) == wanted {
            return one.expect(der::OCTET_STRING).map(<[u8]>::to_vec);
        }
    }
    None
}
