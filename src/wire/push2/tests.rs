//! Keys are made for these tests. That of the device is of RFC 8291, section 5.

use proptest::prelude::*;
use xmpp_parsers::stanza_error::{DefinedCondition, ErrorType};

use super::*;

const OWN: &str = "anna@home.test/phone";
const POINT: &str =
    "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4";
const STANDARD_POINT: &str =
    "BCVxsr7N/eNgVRqvHtD0zTZsEc6+VV+JvLexhqUzORcxaOzi6+AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4=";
const SECRET: &str = "BTBZMqHH6r4Tts7J_aSIgg";
const STANDARD_SECRET: &str = "BTBZMqHH6r4Tts7J/aSIgg==";
const KEY: &str = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgw/G4LPpf8JPsY6uU3E2sQpjRNvzCOdnwG9PHhQ8GiMGhRANCAASzr87EvAs0+EEcyUTAZ+7/4c/WUn1WMN09G+2AWYOB/i9j44XJbQRgb/cKshTNIQ8bnc7lNcO75leGZCWC/ot7";
/// Keys of other kinds: P-384, secp256k1, Ed25519, and SEC 1.
const OTHER_KEYS: [&str; 4] = [
    "MIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDD8mImamVK3OTw+OibeekhhBm4c58GocKlVRUKvg8IB06xUPUuIZGVYzzvk+QomJmOhZANiAASeYtSPG0+5O9ryu5vDRjHdk3bNFomoAH73phN6jEMD52vAJoQX82LK+YqlVf0iXRdOwtMCsoKqXlGa+xX7bydWJixJvV04zRXeM81wdqkMztOSpB9vNLKIfzfvTETan48=",
    "MIGEAgEAMBAGByqGSM49AgEGBSuBBAAKBG0wawIBAQQguf7ZeaGARx+WawxH+faxRDdFJih6HgExV9y6Y8r1Zg2hRANCAARDd8viIh9T4wUynsa+kNREWbfpVBDMT6cp41N9t8hoV2cYu6jSQFU5bxp5G4NB6uQf+oMab95Gx33QWf6Xpz6b",
    "MC4CAQAwBQYDK2VwBCIEICxLcYFijknuH/n52EMSfAzKnZrVhnUxamf0oi9D2uDP",
    "MHcCAQEEIPXEQVDSY088odS0k2rE4s+ucJaXmaBrjiL7eLmLNbj0oAoGCCqGSM49AwEHoUQDQgAEOWcrLanDK4vnDJMZHep5DtYMT9OReii18hGhkQf2u2Q1b18vScyz/llJ/aNBH1p8bp6v89vPUXkukDSCuAf8XA==",
];
const NOTIFY: &str = "<send xmlns='urn:xmpp:push2:send:notify-only:0'/>";

fn parse(children: &str) -> Result<Enabled, RequestError> {
    let xml = format!("<enable xmlns='urn:xmpp:push2:0'>{children}</enable>");
    enable(&xml.parse().unwrap(), OWN)
}

fn with_match(attrs: &str, children: &str) -> String {
    format!("<service>push.test</service><client>c1</client><match {attrs}>{children}</match>")
}

fn all(children: &str) -> Result<Match, RequestError> {
    let children = with_match("profile='urn:xmpp:push2:match:all'", children);
    Ok(parse(&children)?.matches.remove(0))
}

fn web_push(children: &str) -> Result<WebPush, RequestError> {
    let ns = SendProfile::WebPush.uri();
    match all(&format!("<send xmlns='{ns}'>{children}</send>"))?.send {
        Send::WebPush(keys) => Ok(*keys),
        Send::NotifyOnly => panic!("another profile"),
    }
}

fn keys(public: &str, secret: &str) -> String {
    format!("<ua-public>{public}</ua-public><auth-secret>{secret}</auth-secret>")
}

fn jwt(children: &str) -> Result<Option<Jwt>, RequestError> {
    Ok(web_push(&(keys(POINT, SECRET) + children))?.jwt)
}

fn signed(claims: &str) -> Result<Vec<(String, String)>, RequestError> {
    let children = format!("<jwt-alg>ES256</jwt-alg><jwt-key>{KEY}</jwt-key>{claims}");
    Ok(jwt(&children)?.unwrap().claims)
}

fn claim(name: &str, value: &str) -> String {
    format!("<jwt-claim name='{name}'>{value}</jwt-claim>")
}

fn filters_of(count: usize, start: usize) -> String {
    let filters = (start..start + count).map(|i| format!("<filter jid='c{i}@rooms.test'/>"));
    filters.collect()
}

#[test]
fn reads_what_clients_send() {
    let enabled = parse(&format!(
        "<service>GW.Vendor.test</service>\
         <client>https://gw.vendor.test/apns/4f9a#com.vendor.app</client>\
         <match profile='urn:xmpp:push2:match:important'>\
           <grace>120</grace>\
           <filter jid='Team@ROOMS.test'><mention/><reply/></filter>\
           <filter jid='noise@rooms.test'/>\
           <filter jid='spam.test'><mention/></filter>\
           <send xmlns='urn:xmpp:push2:send:sce+rfc8291+rfc8292:0'>\
             <ua-public>{POINT}</ua-public>\
             <auth-secret>{SECRET}</auth-secret>\
             <jwt-alg>ES256</jwt-alg>\
             <jwt-key>{KEY}</jwt-key>\
             <jwt-claim name='aud'>https://gw.vendor.test</jwt-claim>\
           </send>\
         </match>\
         <match profile='urn:xmpp:push2:match:archived-with-body'>{NOTIFY}</match>"
    ));
    let filter = |mention, reply| Filter { mention, reply };
    let important = Match {
        profile: Profile::Important,
        grace: Some(120),
        filters: vec![
            ("team@rooms.test".to_owned(), filter(true, true)),
            ("noise@rooms.test".to_owned(), filter(false, false)),
            ("spam.test".to_owned(), filter(true, false)),
        ],
        send: Send::WebPush(Box::new(WebPush {
            ua_public: STANDARD_POINT.to_owned(),
            auth_secret: STANDARD_SECRET.to_owned(),
            jwt: Some(Jwt {
                key: KEY.to_owned(),
                claims: vec![("aud".to_owned(), "https://gw.vendor.test".to_owned())],
            }),
        })),
    };
    let archived = Match {
        profile: Profile::ArchivedWithBody,
        grace: None,
        filters: Vec::new(),
        send: Send::NotifyOnly,
    };
    assert_eq!(
        enabled,
        Ok(Enabled {
            service: Jid::new("gw.vendor.test").unwrap(),
            client: "https://gw.vendor.test/apns/4f9a#com.vendor.app".to_owned(),
            matches: vec![important, archived],
        })
    );
}

#[test]
fn elements_that_nobody_knows_are_no_error() {
    let unknown = "<x xmlns='urn:x'><match/></x><filter/><client xmlns='urn:x'/>";
    let children = with_match(
        "profile='urn:xmpp:push2:match:all' x='y'",
        &format!("text<filter xmlns='urn:x'/><grace xmlns='urn:x'>no</grace>{NOTIFY}"),
    );
    assert!(parse(&(unknown.to_owned() + &children)).is_ok());
}

#[test]
fn the_service_is_a_jid_and_not_the_own() {
    let rest = with_match("profile='urn:xmpp:push2:match:all'", NOTIFY);
    let rest = rest.strip_prefix("<service>push.test</service>").unwrap();
    let service = |jid: &str| parse(&format!("<service>{jid}</service>{rest}"));
    for jid in [
        "push.test",
        "svc@push.test",
        "svc@push.test/apns",
        " push.test\n",
    ] {
        assert_eq!(service(jid).unwrap().service.as_str(), jid.trim());
    }
    assert_eq!(parse(rest), Err(RequestError::MissingService));
    for jid in ["", "@", "a@", "a b@c", "push.test/"] {
        assert_eq!(service(jid), Err(RequestError::MalformedService), "{jid}");
    }
    for own in [OWN, "anna@home.test", "ANNA@HOME.test/phone"] {
        assert_eq!(service(own), Err(RequestError::OwnService), "{own}");
    }
    assert!(service("home.test").is_ok() && service("anna@home.test/pc").is_ok());
}

#[test]
fn the_client_is_there_and_not_too_long() {
    let request = with_match("profile='urn:xmpp:push2:match:all'", NOTIFY);
    let client = |xml: &str| parse(&request.replace("<client>c1</client>", xml));
    let long = |length| format!("<client>{}</client>", "c".repeat(length));
    assert_eq!(client("<client> c </client>").unwrap().client, " c ");
    assert!(client(&long(MAX_CLIENT)).is_ok());
    assert_eq!(
        client(&long(MAX_CLIENT + 1)),
        Err(RequestError::ClientTooLong)
    );
    for missing in ["", "<client/>", "<client> \n</client>"] {
        assert_eq!(
            client(missing),
            Err(RequestError::MissingClient),
            "{missing}"
        );
    }
}

#[test]
fn there_are_some_matches_but_not_too_many() {
    let one = format!("<match profile='urn:xmpp:push2:match:all'>{NOTIFY}</match>");
    let matches =
        |count| parse(&with_match("", "").replace("<match ></match>", &one.repeat(count)));
    assert_eq!(matches(0), Err(RequestError::MissingMatch));
    assert_eq!(matches(MAX_MATCHES).unwrap().matches.len(), MAX_MATCHES);
    assert_eq!(matches(MAX_MATCHES + 1), Err(RequestError::TooManyMatches));
}

#[test]
fn profiles_are_known() {
    for profile in Profile::ALL {
        let request = with_match(&format!("profile='{}'", profile.uri()), NOTIFY);
        assert_eq!(parse(&request).unwrap().matches[0].profile, profile);
    }
    assert_eq!(
        parse(&with_match("", NOTIFY)),
        Err(RequestError::MissingProfile)
    );

    let known = with_match("profile='urn:xmpp:push2:match:all'", NOTIFY);
    let other = format!("<match profile='urn:x:{}'>{NOTIFY}</match>", "ä".repeat(99));
    let error = parse(&(known + &other)).unwrap_err();
    let cut = format!(
        "The match profile 'urn:x:{}' is not supported",
        "ä".repeat(29)
    );
    assert_eq!(error.to_string(), cut);
}

#[test]
fn there_is_one_send_of_a_profile_that_is_known() {
    for none in ["", "<sent xmlns='urn:x'/>"] {
        assert_eq!(all(none), Err(RequestError::NotOneSend));
    }
    assert_eq!(all(&NOTIFY.repeat(2)), Err(RequestError::NotOneSend));
    let error = all("<send xmlns='urn:xmpp:push2:send:notify-only:1'/>").unwrap_err();
    let text = "The send profile 'urn:xmpp:push2:send:notify-only:1' is not supported";
    assert_eq!(error.to_string(), text);
    assert!(matches!(all("<send/>"), Err(RequestError::UnknownSend(_))));
}

#[test]
fn a_grace_is_a_number_of_seconds() {
    let grace = |text: &str| Ok(all(&format!("<grace>{text}</grace>{NOTIFY}"))?.grace);
    for (text, seconds) in [("0", 0), ("120", 120), (" 120\n", 120), ("86400", 86400)] {
        assert_eq!(grace(text), Ok(Some(seconds)), "{text}");
    }
    for text in [
        "",
        "-1",
        "+1",
        "1.5",
        "1e3",
        "two",
        "86401",
        "99999999999999999999",
        "1 2",
    ] {
        assert_eq!(grace(text), Err(RequestError::MalformedGrace), "{text}");
    }
    assert_eq!(all(NOTIFY).unwrap().grace, None);
}

#[test]
fn a_filter_is_for_a_jid() {
    for jid in ["", "jid=''", "jid='@'", "jid='a b@c.test'"] {
        let filter = format!("<filter jid='a@b.test'/><filter {jid}/>{NOTIFY}");
        assert_eq!(all(&filter), Err(RequestError::MalformedFilter), "{jid}");
    }
    let full = all(&format!("<filter jid='Team@rooms.test/Rosa'/>{NOTIFY}"));
    assert_eq!(full.unwrap().filters[0].0, "team@rooms.test/Rosa");
}

#[test]
fn filters_may_be_many_but_not_endless() {
    let filtered =
        |filters: &str| all(&(NOTIFY.to_owned() + filters)).map(|matched| matched.filters.len());
    assert_eq!(filtered(&filters_of(MAX_FILTERS, 0)), Ok(MAX_FILTERS));
    for count in [MAX_FILTERS + 1, 2 * MAX_FILTERS] {
        assert_eq!(
            filtered(&filters_of(count, 0)),
            Err(RequestError::TooManyFilters)
        );
    }
    let long = |count: usize| {
        let node = "x".repeat(1000);
        let filters = (0..count).map(|i| format!("<filter jid='{node}{i:03}@rooms.test'/>"));
        filters.collect::<String>()
    };
    assert!(filtered(&long(480)).is_ok());
    assert_eq!(filtered(&long(520)), Err(RequestError::TooManyFilters));
    // In all matches together
    let half = MAX_FILTERS / 2;
    let two = |count| {
        let uri = Profile::All.uri();
        let first = with_match(&format!("profile='{uri}'"), &(filters_of(half, 0) + NOTIFY));
        let filters = filters_of(count, half);
        parse(&format!(
            "{first}<match profile='{uri}'>{filters}{NOTIFY}</match>"
        ))
    };
    assert!(two(half).is_ok());
    assert_eq!(two(half + 1), Err(RequestError::TooManyFilters));
}

#[test]
fn keys_of_the_device_are_such() {
    for (public, secret) in [
        (POINT, SECRET),
        (STANDARD_POINT, STANDARD_SECRET),
        (&*format!("\n {POINT} "), &*format!("{SECRET}==")),
    ] {
        let expected = WebPush {
            ua_public: STANDARD_POINT.to_owned(),
            auth_secret: STANDARD_SECRET.to_owned(),
            jwt: None,
        };
        assert_eq!(web_push(&keys(public, secret)), Ok(expected));
    }

    let point = base64::decode(POINT).unwrap();
    let mut beside = point.clone();
    beside[64] ^= 1;
    let mut beyond = vec![4];
    beyond.extend([0xff; 64]);
    let mut hybrid = point.clone();
    hybrid[0] = 6;
    let mut compressed = vec![2];
    compressed.extend(&point[1..33]);
    let mut zero = vec![4];
    zero.extend([0; 64]);
    let mut long = point.clone();
    long.push(0);
    let infinity = vec![0];
    let bad = [
        beside,
        beyond,
        hybrid,
        compressed,
        zero,
        long,
        infinity,
        Vec::new(),
    ];
    let bad = bad.map(base64::encode);
    for public in bad.iter().map(String::as_str).chain(["!", "AAA=A"]) {
        let error = web_push(&keys(public, SECRET)).unwrap_err();
        assert_eq!(error, RequestError::MalformedPublicKey, "{public}");
    }
    for secret in [
        "",
        "AAAA",
        "!",
        &base64::encode([7; 15]),
        &base64::encode([7; 17]),
    ] {
        let error = web_push(&keys(POINT, secret)).unwrap_err();
        assert_eq!(error, RequestError::MalformedAuthSecret, "{secret}");
    }
    let secret = format!("<auth-secret>{SECRET}</auth-secret>");
    assert_eq!(web_push(&secret), Err(RequestError::MalformedPublicKey));
    let public = format!("<ua-public>{POINT}</ua-public>");
    assert_eq!(web_push(&public), Err(RequestError::MalformedAuthSecret));
}

#[test]
fn a_signing_key_and_its_algorithm_need_each_other() {
    let alg = |alg: &str| format!("<jwt-alg>{alg}</jwt-alg>");
    let key = |key: &str| format!("<jwt-key>{key}</jwt-key>");
    let ok = Jwt {
        key: KEY.to_owned(),
        claims: Vec::new(),
    };
    let unpadded = KEY
        .trim_end_matches('=')
        .replace('+', "-")
        .replace('/', "_");
    let (first, second) = KEY.split_at(64);
    for written in [KEY, &unpadded, &format!("\n{first}\n{second}\n")] {
        let jwt = jwt(&(alg(" ES256 ") + &key(written)));
        assert_eq!(jwt, Ok(Some(ok.clone())), "{written}");
    }
    assert_eq!(jwt(""), Ok(None));
    for name in ["HS256", "", "es256", "none"] {
        let error = jwt(&(alg(name) + &key(KEY))).unwrap_err();
        let text =
            format!("The <jwt-alg/> '{name}' is not supported, only ES256 is (RFC 8292 section 2)");
        assert_eq!(error.to_string(), text);
    }
    let cut = &KEY[..KEY.len() / 2];
    let more = base64::encode([base64::decode(KEY).unwrap(), vec![0]].concat());
    for other in OTHER_KEYS.into_iter().chain(["", "!", "AAAA", cut, &more]) {
        let error = jwt(&(alg("ES256") + &key(other))).unwrap_err();
        assert_eq!(error, RequestError::MalformedSigningKey, "{other}");
    }
    assert_eq!(jwt(&alg("ES256")), Err(RequestError::MissingSigningKey));
    let aud = claim("aud", "https://push.test");
    assert_eq!(jwt(&aud), Err(RequestError::MissingSigningKey));
    assert_eq!(jwt(&(key(KEY) + &aud)), Err(RequestError::MissingSignature));
}

#[test]
fn claims_are_bounded_and_each_has_a_name_of_its_own() {
    let many = |count| {
        (0..count)
            .map(|i| claim(&format!("c{i}"), "v"))
            .collect::<String>()
    };
    let claims = signed(&many(MAX_CLAIMS)).unwrap();
    assert_eq!(claims.len(), MAX_CLAIMS);
    assert_eq!(claims[15], ("c15".to_owned(), "v".to_owned()));
    assert_eq!(
        signed(&many(MAX_CLAIMS + 1)),
        Err(RequestError::TooManyClaims)
    );
    let long = |length| {
        let claim = |i| {
            let value = "v".repeat(length);
            format!("<jwt-claim name='c{i:02}'>{value}</jwt-claim>")
        };
        (0..4).map(claim).collect::<String>()
    };
    let share = MAX_CLAIMS_BYTES / 4 - "c00".len();
    assert!(signed(&long(share)).is_ok());
    assert_eq!(signed(&long(share + 1)), Err(RequestError::TooManyClaims));
    let sized = |name, value| signed(&claim(&"n".repeat(name), &"v".repeat(value)));
    assert!(sized(MAX_CLAIM_NAME, MAX_CLAIM).is_ok());
    assert_eq!(
        sized(MAX_CLAIM_NAME + 1, 0),
        Err(RequestError::ClaimTooLong)
    );
    assert_eq!(sized(1, MAX_CLAIM + 1), Err(RequestError::ClaimTooLong));
    let twice = claim("aud", "a") + &claim("aud", "b");
    assert_eq!(signed(&twice), Err(RequestError::RepeatedClaim));
    for unnamed in ["<jwt-claim/>", "<jwt-claim name=''>v</jwt-claim>"] {
        assert_eq!(signed(unnamed), Err(RequestError::UnnamedClaim));
    }
}

#[test]
fn no_secret_can_be_printed() {
    let children = format!("<jwt-alg>ES256</jwt-alg><jwt-key>{KEY}</jwt-key>");
    let keys = web_push(&(keys(POINT, SECRET) + &children)).unwrap();
    let printed = format!("{keys:?}");
    assert!(printed.contains(STANDARD_POINT));
    assert!(!printed.contains(KEY) && !printed.contains(STANDARD_SECRET));
}

#[test]
fn errors_tell_what_can_be_mended() {
    let name = cut("x");
    for (error, condition) in [
        (RequestError::MissingClient, DefinedCondition::BadRequest),
        (
            RequestError::MalformedPublicKey,
            DefinedCondition::BadRequest,
        ),
        (
            RequestError::MalformedService,
            DefinedCondition::JidMalformed,
        ),
        (
            RequestError::MalformedFilter,
            DefinedCondition::JidMalformed,
        ),
        (
            RequestError::UnknownMatch(name),
            DefinedCondition::FeatureNotImplemented,
        ),
        (
            RequestError::UnknownSend(name),
            DefinedCondition::FeatureNotImplemented,
        ),
        (
            RequestError::UnknownSignature(name),
            DefinedCondition::FeatureNotImplemented,
        ),
        (
            RequestError::TooManyFilters,
            DefinedCondition::PolicyViolation,
        ),
        (
            RequestError::ClaimTooLong,
            DefinedCondition::PolicyViolation,
        ),
    ] {
        assert_eq!(
            error.stanza_error(),
            (ErrorType::Modify, condition),
            "{error}"
        );
    }
}

/// What may stand in a request, right and wrong.
fn any_match() -> impl Strategy<Value = String> {
    let profile = prop::sample::select(vec![
        "profile='urn:xmpp:push2:match:all'",
        "profile='urn:xmpp:push2:match:archived'",
        "profile='urn:xmpp:push2:match:x'",
        "",
    ]);
    let pieces = prop::sample::select(vec![
        "<grace>60</grace>".to_owned(),
        "<grace>x</grace>".to_owned(),
        "<filter jid='A@b.test'><reply/></filter>".to_owned(),
        "<filter jid='a@b.test'/>".to_owned(),
        "<filter/>".to_owned(),
        "<x xmlns='urn:x'/>".to_owned(),
    ]);
    let web_push = prop::sample::subsequence(
        vec![
            format!("<ua-public>{POINT}</ua-public>"),
            format!("<auth-secret>{SECRET}</auth-secret>"),
            "<jwt-alg>ES256</jwt-alg>".to_owned(),
            format!("<jwt-key>{KEY}</jwt-key>"),
            claim("aud", "https://push.test"),
            claim("sub", "mailto:a@b.test"),
        ],
        2..=6,
    );
    let web_push = web_push.prop_map(|pieces| {
        let ns = SendProfile::WebPush.uri();
        format!("<send xmlns='{ns}'>{}</send>", pieces.concat())
    });
    let send = prop_oneof![Just(NOTIFY.to_owned()), web_push];
    (profile, prop::collection::vec(pieces, 0..4), send).prop_map(|(profile, pieces, send)| {
        format!("<match {profile}>{}{send}</match>", pieces.concat())
    })
}

/// A request that asks for the same.
fn written(enabled: &Enabled) -> String {
    let matches = enabled.matches.iter().map(|one| {
        let grace = one.grace.map(|grace| format!("<grace>{grace}</grace>"));
        let filters = one.filters.iter().map(|(jid, filter)| {
            let mention = if filter.mention { "<mention/>" } else { "" };
            let reply = if filter.reply { "<reply/>" } else { "" };
            format!("<filter jid='{jid}'>{mention}{reply}</filter>")
        });
        let send = match &one.send {
            Send::NotifyOnly => String::new(),
            Send::WebPush(web_push) => {
                let jwt = web_push.jwt.iter().map(|jwt| {
                    let claims = jwt.claims.iter().map(|(name, value)| claim(name, value));
                    let claims: String = claims.collect();
                    format!(
                        "<jwt-alg>ES256</jwt-alg><jwt-key>{}</jwt-key>{claims}",
                        jwt.key
                    )
                });
                keys(&web_push.ua_public, &web_push.auth_secret) + &jwt.collect::<String>()
            }
        };
        format!(
            "<match profile='{}'>{}{}<send xmlns='{}'>{send}</send></match>",
            one.profile.uri(),
            grace.unwrap_or_default(),
            filters.collect::<String>(),
            one.send.profile().uri(),
        )
    });
    format!(
        "<service>{}</service><client>{}</client>{}",
        enabled.service,
        enabled.client,
        matches.collect::<String>()
    )
}

proptest! {
    #[test]
    fn what_is_kept_asks_for_the_same(
        client in "[a-z#:/ ]{0,20}",
        matches in prop::collection::vec(any_match(), 0..4),
    ) {
        let matches = matches.concat();
        let asked = parse(&format!("<service>Push.test</service><client>{client}</client>{matches}"));
        match asked {
            Ok(enabled) => prop_assert_eq!(parse(&written(&enabled)), Ok(enabled)),
            Err(error) => {
                prop_assert_eq!(error.stanza_error().0, ErrorType::Modify);
                prop_assert!(error.to_string().len() < 256);
            }
        }
    }
}
