//! Where results may go: nothing that was read, and nothing else that is written, is written over.

use super::Folder;

const POLICY: &str = "[routing]\ndefault_model = \"small\"\n";

#[test]
fn what_was_read_is_not_written_over() {
    let folder = Folder::new("inputs");
    folder.write("second.toml", super::CHAT);
    folder.write("policy.toml", POLICY);
    folder.write("day.csv", "at,input,output\n0,10,10\n1,10,10\n2,10,10\n");
    let replayed = super::CHAT.replace(
        "arrivals = { kind = \"poisson\", rate = \"5/s\" }",
        "trace = { file = \"day.csv\", format = \"generic-csv\" }",
    );
    folder.write("replay.toml", &replayed);
    folder.write("points.csv", "system,backend\n");
    #[cfg(unix)]
    std::os::unix::fs::symlink("chat.toml", folder.0.join("link.toml")).expect("a link");
    let kept = |file: &str| folder.read(file);
    let before = ["chat.toml", "second.toml", "policy.toml", "day.csv", "points.csv"].map(kept);
    for (args, file) in [
        ("run chat.toml --html chat.toml", "chat.toml"),
        ("run chat.toml --json ./chat.toml", "./chat.toml"),
        ("run chat.toml --calls chat.toml", "chat.toml"),
        #[cfg(unix)]
        ("run link.toml --md chat.toml", "chat.toml"),
        #[cfg(unix)]
        ("run chat.toml --md link.toml", "link.toml"),
        ("run chat.toml --policy policy.toml --html policy.toml", "policy.toml"),
        ("run replay.toml --calls day.csv", "day.csv"),
        ("compare chat.toml second.toml --json second.toml", "second.toml"),
        ("what-if chat.toml --traffic 2x --html chat.toml", "chat.toml"),
        ("plan chat.toml --vary pools.h100.replicas=1,2 --html chat.toml", "chat.toml"),
        ("check chat.toml --candidate policy.toml --junit policy.toml", "policy.toml"),
        ("sweep chat.toml --vary pools.h100.replicas=1,2 --out s --html chat.toml", "chat.toml"),
        ("trace convert day.csv day.csv --layout generic-csv", "day.csv"),
        ("calibrate score --points points.csv --html points.csv", "points.csv"),
        (
            "calibrate fit --points points.csv --source a --as-of 2026-11-26 --out points.csv",
            "points.csv",
        ),
    ] {
        let err = folder.run(args).expect(2).err;
        let says = format!("{file}: it is read, and would be written over; name another file");
        assert!(err.contains(&says), "{args}: {err}");
    }
    let after = ["chat.toml", "second.toml", "policy.toml", "day.csv", "points.csv"].map(kept);
    assert_eq!(after, before);
}

#[test]
fn results_have_places_of_their_own() {
    let folder = Folder::new("places");
    std::fs::create_dir_all(folder.0.join("there")).expect("a folder");
    for (args, says) in [
        ("--json a --html a", "a: two results cannot go into one file"),
        ("--json a --html ./a", "./a: two results cannot go into one file"),
        ("--plots o --out o", "--plots and --out need a folder each"),
        ("--plots o/pictures --out o", "neither within the other"),
        ("--tables t --plots t/pictures", "neither within the other"),
        ("--tables t/tables --out t", "neither within the other"),
        ("--out there --html there/page.html", "the folder of --out is to hold nothing else"),
        ("--html no/page.html", "no: there is no such folder"),
        ("--html there", "there is a folder"),
    ] {
        let err = folder.run(&format!("run chat.toml {args}")).expect(2).err;
        assert!(err.contains(says), "{args}: {err}");
    }
    assert_eq!(folder.list().len(), 2, "{:?}", folder.list());
}
