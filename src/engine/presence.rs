//! Whether the person is there, as far as presence says (RFC 6121 section 4).

/// A session that has sent presence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Presence {
    /// It is connected, and does not hibernate.
    pub live: bool,
    /// Its priority is zero or more: it receives what is sent to the bare JID.
    pub receives: bool,
    /// It says no more than that it is available: it has no `<show/>`.
    pub plain: bool,
}

impl Presence {
    /// Whether the user receives messages, but nobody seems to look at them: of the sessions that are connected, none
    /// says plainly that it is available.
    pub fn is_away(sessions: &[Self]) -> bool {
        sessions.iter().any(|one| one.receives) && !Self::is_watched(sessions)
    }

    /// Whether the user, whose sessions have been like these, is plainly there with a session that says this now.
    pub fn is_back(now: Self, before: &[Self]) -> bool {
        Self::is_watched(&[now]) && !Self::is_watched(before)
    }

    fn is_watched(sessions: &[Self]) -> bool {
        let is_watched = |one: &Self| one.live && one.receives && one.plain;
        sessions.iter().any(is_watched)
    }

    /// Whether no session receives what is sent to those that are available.
    pub fn is_offline(sessions: &[Self]) -> bool {
        !sessions.iter().any(|one| one.live)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Presence = Presence {
        live: true,
        receives: true,
        plain: true,
    };
    const AWAY: Presence = Presence {
        plain: false,
        ..PLAIN
    };
    const NEGATIVE: Presence = Presence {
        receives: false,
        ..PLAIN
    };
    const HIBERNATED: Presence = Presence {
        live: false,
        ..PLAIN
    };

    #[test]
    fn a_user_is_away_if_nobody_who_receives_is_plainly_there() {
        for (sessions, is_away) in [
            (&[][..], false),
            (&[PLAIN], false),
            (&[AWAY], true),
            (&[AWAY, PLAIN], false),
            (&[AWAY, NEGATIVE], true),
            (&[NEGATIVE], false),
            (&[HIBERNATED], true),
            (&[HIBERNATED, PLAIN], false),
        ] {
            assert_eq!(Presence::is_away(sessions), is_away, "{sessions:?}");
        }
    }

    #[test]
    fn a_user_is_back_who_was_not_plainly_there_and_is_now() {
        for (now, before, is_back) in [
            (PLAIN, &[][..], true),
            (PLAIN, &[AWAY, NEGATIVE, HIBERNATED], true),
            (PLAIN, &[AWAY, PLAIN], false),
            (AWAY, &[], false),
            (NEGATIVE, &[AWAY], false),
        ] {
            assert_eq!(
                Presence::is_back(now, before),
                is_back,
                "{now:?} {before:?}"
            );
        }
    }

    #[test]
    fn a_user_is_offline_without_a_connected_session_that_has_sent_presence() {
        for (sessions, is_offline) in [
            (&[][..], true),
            (&[HIBERNATED], true),
            (&[AWAY], false),
            (&[NEGATIVE], false),
            (&[HIBERNATED, PLAIN], false),
        ] {
            assert_eq!(Presence::is_offline(sessions), is_offline, "{sessions:?}");
        }
    }
}
