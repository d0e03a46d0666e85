use proptest::prelude::*;

use super::*;

const ALL: [PasswordHash; 3] = [PasswordHash::Bcrypt, PasswordHash::Sha512Crypt, PasswordHash::Sha1];

/// Made by others: libxcrypt's crypt(3), `openssl passwd -6` and Apache's htpasswd.
#[test]
fn hashes_of_other_programs_hold() {
    let (long, longer) = ("x".repeat(72), "x".repeat(256));
    for (hash, password, text) in [
        (
            PasswordHash::Bcrypt,
            "correct horse",
            "$2y$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu",
        ),
        (PasswordHash::Bcrypt, &long, "$2y$10$abcdefghijklmnopqrstuuhBb/0dYbuuS1CS8hp30IXhlFBW2VAWG"),
        (
            PasswordHash::Bcrypt,
            "p\u{e4}ssw\u{f6}rd \u{2603}",
            "$2y$10$abcdefghijklmnopqrstuuUkoAAdhkqdT.hFRWN.Fg0/7200NxZAO",
        ),
        (
            PasswordHash::Sha512Crypt,
            "correct horse",
            "$6$0123456789abcdef$lDHzA5IdO41viXIs6llkDKq4Uh2VG9JXIYJ.taq2zlNFqBnKQ0/fOUW0Zoz49ZnOpe2ACY.PoF6wosL.jL3Af0",
        ),
        (
            PasswordHash::Sha512Crypt,
            &longer,
            "$6$0123456789abcdef$pGHDbF/gDeRPZ.Zh1OwbBgWU2Q2Lcl.YVSBlev5Bw3Nmz9btJABDqZoeqQKbjIayCfU66zgWMXrdo7bg/aH4d1",
        ),
        (
            PasswordHash::Sha512Crypt,
            "p\u{e4}ssw\u{f6}rd \u{2603}",
            "$6$0123456789abcdef$4wBquCFdcKh71O8oyHlAI1B/kJHYA.GnDivbB1.uFHv.8LY3J2Uhr0leXUJ8cjiKWnEqHBQ/i7ZaMYnbnIV7m1",
        ),
        (PasswordHash::Sha1, "correct horse", "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A="),
        (PasswordHash::Sha1, "p\u{e4}ssw\u{f6}rd \u{2603}", "{SHA}re6L5VY4rugCnM1UaRmskpVI8UY="),
    ] {
        assert!(holds(hash, password, text), "{text}");
        assert!(!holds(hash, &format!("{password}!"), text) || password.len() == 72, "{text}");
        assert!(!holds(hash, "", text), "{text}");
    }
    // The vector of the specification, whose salt is shorter than ours.
    assert_eq!(
        *sha512_crypt("Hello world!", "saltstring"),
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
    );
}

#[test]
fn what_is_not_as_it_would_be_made_now_does_not_hold() {
    for (hash, text) in [
        // `correct horse` each time: another cost, another prefix, another algorithm, rounds, a short salt.
        (PasswordHash::Bcrypt, "$2y$04$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu"),
        (PasswordHash::Bcrypt, "$2b$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu"),
        (PasswordHash::Bcrypt, "{SHA}L55TUjtiq8FBorTWAZ0jy6g129A="),
        (PasswordHash::Sha512Crypt, "$6$rounds=1000$abcdef$x"),
        (PasswordHash::Sha512Crypt, "$6$a$x"),
        (PasswordHash::Sha1, "$2y$10$abcdefghijklmnopqrstuu23JPZtHcGhwXSF41f93o/7vBdDut3Xu"),
    ] {
        assert!(!holds(hash, "correct horse", text), "{text}");
    }
    for hash in ALL {
        for text in ["", "$", "$2y$10$", "$2y$10$\u{e4}bcdefghijklmnopqrstu", "$6$", "$6$$", "{SHA}", "x:y"] {
            assert!(!holds(hash, "correct horse", text), "{text}");
        }
    }
}

#[test]
fn a_password_that_would_be_cut_short_is_refused() {
    for (hash, most) in [(PasswordHash::Bcrypt, 72), (PasswordHash::Sha512Crypt, 256)] {
        assert_eq!(problem(hash, &"x".repeat(most)), None);
        assert!(problem(hash, &"x".repeat(most + 1)).unwrap().contains(&format!("has {} bytes", most + 1)));
        // Bytes count, not characters.
        assert!(problem(hash, &"\u{e4}".repeat(most / 2 + 1)).is_some());
    }
    assert_eq!(problem(PasswordHash::Sha1, &"x".repeat(16_384)), None);
}

#[test]
fn salts_differ_between_users_and_draws() {
    for hash in [PasswordHash::Bcrypt, PasswordHash::Sha512Crypt] {
        let one = make(hash, "alice", "correct horse", &[1; 32]);
        assert_eq!(one, make(hash, "alice", "correct horse", &[1; 32]));
        assert_ne!(one, make(hash, "bob", "correct horse", &[1; 32]));
        assert_ne!(one, make(hash, "alice", "correct horse", &[2; 32]));
    }
}

proptest! {
    // Few, as each costs about a third of a second.
    #![proptest_config(ProptestConfig::with_cases(8))]

    #[test]
    fn what_is_made_holds_for_its_password_only(
        password in "[^\0]{1,18}", other in "[^\0]{1,18}", entropy: [u8; 32]
    ) {
        for hash in ALL {
            let text = make(hash, "alice", &password, &entropy);
            prop_assert!(text.is_ascii() && !text.contains([':', '\n', ' ']));
            prop_assert_eq!(text.len(), match hash {
                PasswordHash::Bcrypt => 60,
                PasswordHash::Sha512Crypt => 106,
                PasswordHash::Sha1 => 33,
            });
            prop_assert!(holds(hash, &password, &text));
            prop_assert_eq!(holds(hash, &other, &text), password == other);
        }
    }
}

proptest! {
    #[test]
    fn no_text_makes_it_stop(text in ".{0,80}", tail in "[./A-Za-z0-9$:=]{0,70}") {
        for text in [text, format!("$6${tail}"), format!("{{SHA}}{tail}")] {
            prop_assert!(!holds(PasswordHash::Sha1, "correct horse", &text));
            let _ = sha512_salt(&text);
            let _ = bcrypt_salt(&text);
        }
        let _ = bcrypt_salt(&format!("$2y$10${tail}"));
    }
}
