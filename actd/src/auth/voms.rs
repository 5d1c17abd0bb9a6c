//! The VOMS attribute certificate in a proxy: whom the VO says we are. Read, not verified: only the servers decide on it.
//!
//! Format: RFC 5755 attribute certificate in extension 1.3.6.1.4.1.8005.100.100.5, holding attribute
//! 1.3.6.1.4.1.8005.100.100.4 in IetfAttrSyntax (VOMS attribute certificate format, OGF GFD.182).

use std::time::SystemTime;

use super::der::{BadDer, Der, GENERALIZED_TIME, INTEGER, OCTET_STRING, OID, SEQUENCE, SET, Tlv};

/// DER content of 1.3.6.1.4.1.8005.100.100.5: list of attribute certificates.
const AC_EXTENSION: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xbe, 0x45, 0x64, 0x64, 0x05];
/// DER content of 1.3.6.1.4.1.8005.100.100.4: the attribute with the FQANs.
const FQAN_ATTRIBUTE: &[u8] = &[0x2b, 0x06, 0x01, 0x04, 0x01, 0xbe, 0x45, 0x64, 0x64, 0x04];
/// Most attributes read, and the longest.
const MAX_FQANS: usize = 256;
const MAX_FQAN: usize = 1024;

/// What the attribute certificate says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voms {
    /// Name of the virtual organisation.
    pub vo: String,
    /// Fully qualified attribute names, first (the primary one, which the aCT server goes by) to last; not empty.
    pub fqans: Vec<String>,
    /// End of the attribute certificate, which may come before the proxy's.
    pub expires: SystemTime,
}

/// The first attribute certificate of a certificate (DER). `None` if it has none or one that cannot be read.
pub(super) fn of_certificate(certificate: &[u8]) -> Option<Voms> {
    let value = super::der::extension(certificate, AC_EXTENSION).ok()??;
    parse(value).ok()
}

fn parse(extension: &[u8]) -> Result<Voms, BadDer> {
    let info = find_info(extension)?;
    let mut fields = info.inside();
    fields.expect(INTEGER)?; // version
    fields.expect(SEQUENCE)?; // holder
    fields.next()?; // issuer
    fields.expect(SEQUENCE)?; // signature algorithm
    fields.expect(INTEGER)?; // serial number
    let mut validity = fields.expect(SEQUENCE)?.inside();
    validity.expect(GENERALIZED_TIME)?;
    let expires = validity.expect(GENERALIZED_TIME)?.time()?;
    let mut attributes = fields.expect(SEQUENCE)?.inside();
    while !attributes.is_empty() {
        let mut attribute = attributes.expect(SEQUENCE)?.inside();
        if attribute.expect(OID)?.value == FQAN_ATTRIBUTE {
            let mut syntax = attribute.expect(SET)?.inside().expect(SEQUENCE)?.inside();
            let authority = syntax.take_if(0xa0)?;
            let fqans = fqans(syntax.expect(SEQUENCE)?)?;
            let vo = authority.and_then(vo_of_authority).or_else(|| vo_of_fqan(fqans.first()?)).ok_or(BadDer)?;
            return Ok(Voms { vo, fqans, expires });
        }
    }
    Err(BadDer)
}

/// The attribute certificate's info part. Around it are one or two lists, depending on who wrote the extension: an
/// info begins with an integer (its version), which no list does.
fn find_info(extension: &[u8]) -> Result<Tlv<'_>, BadDer> {
    let mut tlv = Der::new(extension).expect(SEQUENCE)?;
    for _ in 0..4 {
        let inner = tlv.inside().expect(SEQUENCE)?;
        if inner.value.first() == Some(&INTEGER) {
            return Ok(inner);
        }
        tlv = inner;
    }
    Err(BadDer)
}

fn fqans(values: Tlv<'_>) -> Result<Vec<String>, BadDer> {
    let mut fqans = Vec::new();
    let mut values = values.inside();
    while !values.is_empty() && fqans.len() < MAX_FQANS {
        let value = values.expect(OCTET_STRING)?.value;
        let text = std::str::from_utf8(value).map_err(|_| BadDer)?;
        if !text.starts_with('/') || text.len() > MAX_FQAN || text.chars().any(char::is_control) {
            return Err(BadDer);
        }
        fqans.push(text.to_owned());
    }
    if fqans.is_empty() { Err(BadDer) } else { Ok(fqans) }
}

/// VO name from the policy authority, a URI `VO://host:port` ([6] in GeneralNames).
fn vo_of_authority(authority: Tlv<'_>) -> Option<String> {
    let mut names = authority.inside();
    while let Ok(name) = names.next() {
        // Some writers nest the names in one more list.
        let name = if matches!(name.tag, SEQUENCE | 0xa0 | 0xa1 | 0xa4) { name.inside().next().ok()? } else { name };
        if name.tag == 0x86
            && let Some((vo, _)) = std::str::from_utf8(name.value).ok()?.split_once("://")
        {
            return Some(vo.to_owned()).filter(|vo| !vo.is_empty() && !vo.chars().any(char::is_control));
        }
    }
    None
}

/// VO name as the first part of `/VO/group/Role=...`.
fn vo_of_fqan(fqan: &str) -> Option<String> {
    fqan.split('/').nth(1).filter(|vo| !vo.is_empty()).map(str::to_owned)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use proptest::prelude::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = vec![tag];
        match content.len() {
            n @ 0..0x80 => out.push(n as u8),
            n => out.extend([0x82, (n >> 8) as u8, n as u8]),
        }
        out.extend(content);
        out
    }

    /// The value of the extension as VOMS servers write it, unsigned.
    pub(in super::super) fn extension_value(vo: &str, fqans: &[&str], until: &str) -> Vec<u8> {
        let uri = tlv(0x86, format!("{vo}://voms.example.org:15000").as_bytes());
        let values: Vec<u8> = fqans.iter().flat_map(|f| tlv(OCTET_STRING, f.as_bytes())).collect();
        let syntax = tlv(SEQUENCE, &[tlv(0xa0, &uri), tlv(SEQUENCE, &values)].concat());
        let attribute = tlv(SEQUENCE, &[tlv(OID, FQAN_ATTRIBUTE), tlv(SET, &syntax)].concat());
        let validity = [tlv(GENERALIZED_TIME, b"20200101000000Z"), tlv(GENERALIZED_TIME, until.as_bytes())].concat();
        let info = [
            tlv(INTEGER, &[1]),
            tlv(SEQUENCE, &[]),
            tlv(0xa0, &[]),
            tlv(SEQUENCE, &[]),
            tlv(INTEGER, &[5]),
            tlv(SEQUENCE, &validity),
            tlv(SEQUENCE, &attribute),
        ]
        .concat();
        let certificate = tlv(SEQUENCE, &[tlv(SEQUENCE, &info), tlv(SEQUENCE, &[]), tlv(0x03, &[0])].concat());
        tlv(SEQUENCE, &tlv(SEQUENCE, &certificate))
    }

    #[test]
    fn attributes_are_read() {
        let fqans = ["/atlas/Role=production/Capability=NULL", "/atlas/Role=NULL/Capability=NULL"];
        let value = extension_value("atlas", &fqans, "20261122075013Z");
        let voms = parse(&value).expect("parse");
        assert_eq!((voms.vo.as_str(), voms.fqans.len(), voms.fqans[0].as_str()), ("atlas", 2, fqans[0]));
        // The same with one list fewer around it.
        assert_eq!(parse(Der::new(&value).next().expect("outer").value), Ok(voms));
        assert!(parse(&extension_value("atlas", &[], "20261122075013Z")).is_err());
        assert!(parse(&extension_value("atlas", &["/a\u{1b}[m"], "20261122075013Z")).is_err());
    }

    proptest! {
        #[test]
        fn damage_is_an_error_not_a_panic(at in 0usize..200, byte: u8) {
            let mut value = extension_value("atlas", &["/atlas"], "20261122075013Z");
            let at = at % value.len();
            value[at] = byte;
            let _ = parse(&value);
            let _ = parse(&value[..at]);
        }
    }
}
