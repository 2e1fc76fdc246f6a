//! Paths that are no UTF-8: what was done is not called a failure because its name cannot be written down.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;

use super::{Place, command, good};

#[test]
fn a_path_that_is_no_text_ends_no_command() {
    let place = Place::new();
    let (home, odd) = (place.home(), OsStr::from_bytes(b"caf\xe9"));
    let data = place.path("folder").join(odd);
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("a"), "one").unwrap();
    let left_out = data.join(OsStr::from_bytes(b"caf\xe9.tmp"));
    fs::write(&left_out, "left out").unwrap();
    let run = |args: &[&OsStr], json: bool| {
        let mut command = command(&home, if json { &["--json"] } else { &[] });
        let output = command.args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        if json {
            serde_json::from_slice::<serde_json::Value>(&output.stdout).unwrap();
        }
    };
    let text = OsStr::new;
    run(&[text("collection"), text("add"), text("odd"), data.as_os_str(), text("--exclude"), text("*.tmp")], true);
    run(&[text("collection"), text("list")], true);
    good(&home, &["backup", "-q"]);
    for json in [false, true] {
        let target = place.path("out").join(odd).join(json.to_string());
        run(&[text("restore"), text("odd"), text("--target"), target.as_os_str()], json);
        assert_eq!(fs::read(target.join("a")).unwrap(), b"one");
        // What is left out comes over, and has such a name, too.
        fs::write(data.join("a"), "two").unwrap();
        run(&[text("recover"), text("odd")], json);
        assert_eq!(fs::read(data.join("a")).unwrap(), b"one");
        assert_eq!(fs::read(&left_out).unwrap(), b"left out");
        run(&[text("export"), text("--output"), place.path("usb").join(odd).as_os_str()], json);
    }
    let archive = place.path("folder").join(OsStr::from_bytes(b"caf\xe9-20200101.tar"));
    let packed = std::process::Command::new("tar").arg("-C").arg(&data).arg("-cf").arg(&archive).arg("a").status();
    assert!(packed.unwrap().success());
    run(&[text("import-tar"), text("--collection"), text("old"), archive.as_os_str()], true);
}
