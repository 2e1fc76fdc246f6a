"""Goes through the pages as an admin does, in a real browser: once with JavaScript and once without.

Every page that is looked at must load nothing from elsewhere, break no content policy, fit its window, and show only commands that there
are. With JavaScript each is photographed wide and narrow, light and dark, and axe must find nothing serious.

    BULBIL=target/debug/bulbil SCRATCH=/tmp/x target/tools/web/bin/python tests/web/browser.py
"""

import os
import re
import shlex
import sys
import time
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

from instance import PASSWORD, Instance

SCREENSHOTS = Path(os.environ.get("BULBIL_SCREENSHOTS", "target/screenshots"))
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
WIDTHS = (1280, 390)
NARROWEST = 360
PAGES = {
    "overview": "/",
    "collection": "/collections/notes",
    "recover": "/collections/notes/recover",
    "promote-own": "/collections/notes/promote",
    "runs": "/runs",
    "restore": "/snapshots/notes@1/restore",
    "inspection": "/snapshots/notes@1/inspection",
    "schedule": "/collections/notes/schedule",
    "schedule-preset": "/collections/notes/schedule?preset=nightly",
    "retention": "/collections/notes/retention",
    "retention-preview": "/collections/notes/retention?last=1&look=yes",
    "collection-settings": "/collections/notes/settings",
    "peer-new": "/new/peer",
    "clone-new": "/new/clone",
    "targets": "/targets",
    "target-new": "/new/target",
    "portable": "/portable",
    "schedules": "/schedules",
    "alerts": "/alerts",
    "channel-new": "/alerts/channels/new",
    "alert-settings": "/alerts/settings",
    "keys": "/keys",
    "secrets": "/collections/notes/secrets",
    "secret-new": "/collections/notes/secrets/new",
    "sheet": "/keys/sheet",
    "onion-keys": "/keys/onion",
    "rotate": "/keys/rotate",
    "audit": "/audit",
    "settings": "/settings",
    "token-new": "/settings/tokens/new",
    "password": "/settings/password",
}


class Visitor:
    """A browser that is at an instance, and what is wrong with what it was shown."""

    def __init__(self, browser, instance, javascript):
        self.instance, self.javascript = instance, javascript
        self.wrong = []
        self.looked = set()
        self.context = browser.new_context(java_script_enabled=javascript, viewport={"width": WIDTHS[0], "height": 900})
        self.context.set_default_timeout(15_000)
        self.page = self.context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"a script failed: {error}"))
        self.page.on("request", self._request)
        self.page.on("response", self._response)

    def _console(self, message):
        # A page that says 401 or 404 on purpose is no fault of it.
        if message.type in ("error", "warning") and "the server responded with a status of 4" not in message.text:
            self.wrong.append(f"{self.page.url}: {message.text}")

    def _request(self, request):
        if not request.url.startswith((self.instance.url("/"), "data:", "about:")):
            self.wrong.append(f"{self.page.url} asks elsewhere: {request.url}")

    def _response(self, response):
        if response.status >= 500:
            self.wrong.append(f"{response.url} answers {response.status}")

    def go(self, path):
        return self.page.goto(self.instance.url(path))

    def look(self, name):
        """Looks at the page that is shown, in every way."""
        path = self.page.url.removeprefix(self.instance.url(""))
        headings = self.page.locator("h1").count()
        if headings != 1:
            self.wrong.append(f"{path} has {headings} headings of the first level")
        for scheme in ("light", "dark"):
            for width in (*WIDTHS, NARROWEST):
                self.page.emulate_media(color_scheme=scheme)
                self.page.set_viewport_size({"width": width, "height": 900})
                over = self.page.evaluate("document.documentElement.scrollWidth") - width
                if over > 0:
                    self.wrong.append(f"{path} is {over} px too wide for {width} px")
                if width == NARROWEST:
                    continue
                self._wait_for_pictures(scheme)
                # The same markup is shown without JavaScript, where axe could not run.
                if self.javascript:
                    self._photograph(f"{name}-{width}-{scheme}.png")
                    self._axe(path, scheme, width)
        self.page.set_viewport_size({"width": WIDTHS[0], "height": 900})
        self._commands(path)
        self.looked.add(name)

    def _wait_for_pictures(self, scheme):
        """Those of the theme that is looked at are there, and show."""
        shown = """scheme => [...document.images].every(image => image.complete && image.naturalWidth
            && image.currentSrc.includes("theme=dark") === (scheme === "dark"))"""
        self.instance.wait(f"the {scheme} pictures of {self.page.url}", lambda: self.page.evaluate(shown, scheme))

    def _photograph(self, file):
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SCREENSHOTS / file, full_page=True)

    def _axe(self, path, scheme, width):
        for finding in Axe().run(self.page).response["violations"]:
            if finding["impact"] in ("serious", "critical"):
                where = "; ".join(" ".join(node["target"]) for node in finding["nodes"][:3])
                self.wrong.append(f"{path} ({scheme}, {width} px): {finding['id']}, {finding['help']}: {where}")

    def _commands(self, path):
        """Each command that a page shows is one that there is, with options that it has."""
        for line in self.page.locator("pre.command").all_inner_texts():
            # Invites and reports look like commands, too.
            if not line.startswith("bulbil "):
                continue
            words = shlex.split(line)
            names = []
            for word in words[1:]:
                if not re.fullmatch(r"[a-z][a-z-]*", word):
                    break
                names.append(word)
            # What looks like a command may be an argument: the longest beginning that is a command tells.
            usage = ""
            while names and not usage:
                try:
                    usage = self.instance.run(*names, "--help")
                except AssertionError:
                    names.pop()
            lacking = [word for word in words if word.startswith("--") and word.split("=")[0] not in usage]
            if not usage or lacking:
                self.wrong.append(f"{path} shows {line!r}, and there is no such command or option: {lacking}")

    def links(self):
        """Each link of the page leads somewhere."""
        hrefs = self.page.eval_on_selector_all("a[href]", "all => all.map(one => one.getAttribute('href'))")
        for href in sorted({href for href in hrefs if href.startswith("/")}):
            status = self.context.request.get(self.instance.url(href)).status
            if status != 200:
                self.wrong.append(f"{self.page.url} links to {href}, which answers {status}")


def log_in_first(visitor):
    """The first login, by the link that the server printed."""
    visitor.go("/")
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Set a password")
    visitor.go(visitor.instance.setup_link())
    visitor.look("setup")
    fields = visitor.page.locator("input[type=password]")
    fields.nth(0).fill(PASSWORD)
    fields.nth(1).fill(PASSWORD)
    visitor.page.get_by_role("button").first.click()
    expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Overview")


def log_out_and_in(visitor):
    page = visitor.page
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Log in")
    visitor.look("login")
    page.locator("input[type=password]").fill("not the password at all")
    page.get_by_role("button", name="Log in").click()
    expect(page.get_by_role("alert")).to_contain_text("not right")
    visitor.look("login-wrong")
    # After a failure the next attempt has to wait a moment, and the page says so.
    for _ in range(20):
        page.locator("input[type=password]").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_load_state()
        if page.get_by_role("heading", level=1).inner_text() == "Overview":
            return
        time.sleep(0.5)
    raise AssertionError("the right password was not taken")


def first_collection(visitor, data):
    """From the empty overview to a collection, by the form; what is wrong is said beside the field, and what was typed stays."""
    page = visitor.page
    page.get_by_role("link", name="Add a collection").first.click()
    page.get_by_label("Name").fill("notes")
    page.get_by_label("Folders").fill("/no/such/folder")
    visitor.look("collection-new")
    page.get_by_role("button", name="Add the collection").click()
    expect(page.locator("[aria-invalid=true]")).to_have_value("/no/such/folder")
    expect(page.get_by_label("Name")).to_have_value("notes")
    visitor.look("collection-new-wrong")
    page.get_by_label("Folders").fill(str(data))
    page.get_by_role("button", name="Add the collection").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("notes")
    expect(page.get_by_text("No snapshot yet")).to_be_visible()
    visitor.look("collection-empty")


def run_to_its_end(visitor, button, name):
    """Begins a run with a button, and waits on its page until it has ended: live with JavaScript, by loading itself without."""
    page = visitor.page
    page.get_by_role("button", name=button).first.click()
    page.wait_for_url("**/runs/*")
    expect(page.locator("main p.lead").first).to_contain_text("done", timeout=60_000)
    visitor.look(name)


def browse_and_download(visitor):
    """From the collection to a file of its newest snapshot, and onto this disk."""
    page = visitor.page
    visitor.go("/collections/notes")
    page.get_by_role("link", name="@1").first.click()
    visitor.look("snapshot")
    visitor.links()
    page.get_by_role("link", name="Browse the files").click()
    visitor.look("files")
    page.get_by_role("link", name="first.txt").click()
    expect(page.get_by_role("main")).to_contain_text("what is not to be lost")
    visitor.look("file")
    with page.expect_download() as download:
        page.get_by_role("link", name="Download", exact=True).click()
    assert Path(download.value.path()).read_text() == "what is not to be lost\n"
    assert download.value.suggested_filename == "first.txt"


def invite(visitor):
    """A guest's line; after a while without a password it is asked for once more."""
    page = visitor.page
    visitor.go("/peers")
    visitor.look("peers-empty")
    page.get_by_role("link", name="Invite somebody").first.click()
    visitor.look("invite-new")
    page.get_by_label("All, and those that are added later").check()
    page.get_by_role("button", name="Make the invite").click()
    line = page.locator("pre.command").first.inner_text()
    assert line.startswith("bulbil:"), line
    # What is on the page is a secret: nobody photographs it.
    return line


def second_clones(garden, scratch, name, line):
    """A second instance has the files, and stands among the peers."""
    with Instance(scratch, name) as friend:
        friend.run("clone", line)
        out = friend.folder / "restored"
        friend.run("restore", "notes", "--target", str(out))
        assert (out / "first.txt").read_text() == "what is not to be lost\n"


def revoke(visitor):
    page = visitor.page
    visitor.go("/peers")
    visitor.look("peers")
    visitor.links()
    page.locator("main article a, main section a, main h2 a").first.click()
    visitor.look("peer")
    page.get_by_role("link", name="Shut it out…").click()
    visitor.look("peer-revoke")
    page.locator("main form button[type=submit]").first.click()
    expect(page.get_by_role("main")).to_contain_text("It is shut out")
    visitor.look("peer-revoked")


def another_place(visitor, disk):
    """From the empty list of targets to a copy on another disk; what is wrong is said beside the field."""
    page = visitor.page
    visitor.go("/targets")
    expect(page.get_by_role("main")).to_contain_text("There is no copy in another place yet")
    visitor.look("targets-empty")
    visitor.links()
    page.get_by_role("link", name="Add a target").click()
    page.get_by_label("Name").fill("usb")
    page.get_by_label("Place").fill("/no/such/disk")
    page.get_by_role("button", name="Add the target").click()
    expect(page.locator("[aria-invalid=true]")).to_have_value("/no/such/disk")
    visitor.look("target-new-wrong")
    page.get_by_label("Place").fill(str(disk))
    page.get_by_role("button", name="Add the target").click()
    expect(page.get_by_role("main")).to_contain_text("nothing was copied yet")
    visitor.look("target-new-added")
    run_to_its_end(visitor, "Copy now", "run-copy")
    visitor.go("/targets")
    expect(page.locator("#usb")).to_contain_text("has the newest snapshot")
    page.get_by_role("link", name="usb", exact=True).first.click()
    visitor.look("target")
    visitor.links()
    run_to_its_end(visitor, "Verify", "run-verify-target")
    visitor.go("/targets/usb/forget")
    visitor.look("target-forget")


def who_is_told(visitor):
    """From nobody who is told to somebody, a test that does not get through, and back."""
    page = visitor.page
    visitor.go("/alerts")
    expect(page.locator("#channels")).to_contain_text("Nobody is told")
    page.get_by_role("link", name="Have yourself told").click()
    page.get_by_label("Name", exact=True).fill("ops")
    page.locator("input[name=kind][value=webhook]").check()
    page.get_by_label("Address", exact=True).fill("gopher://example.org/a-secret")
    page.get_by_role("button", name="Add it").click()
    expect(page.locator("[aria-invalid=true]")).to_have_value("")
    visitor.look("channel-new-wrong")
    # Nothing listens there.
    page.get_by_label("Address", exact=True).fill("http://127.0.0.1:1/a-secret")
    page.get_by_role("button", name="Add it").click()
    expect(page.locator("#channels")).to_contain_text("127.0.0.1")
    visitor.look("alerts-told")
    page.get_by_role("button", name="Test", exact=True).click()
    expect(page.locator("#test")).to_contain_text("did not get through")
    visitor.look("alerts-tested")
    page.get_by_role("link", name="Remove").click()
    visitor.look("channel-remove")
    page.get_by_role("button", name="Remove it").click()
    expect(page.locator("#channels")).to_contain_text("Nobody is told")


def a_secret(visitor):
    """From the empty list to a secret that is kept, shown and removed; what is wrong is said beside the field."""
    page = visitor.page
    visitor.go("/keys")
    page.get_by_role("main").get_by_role("link", name="notes").click()
    expect(page.get_by_role("main")).to_contain_text("No secret is kept")
    visitor.look("secrets-empty")
    visitor.links()
    page.get_by_role("link", name="Keep a secret").click()
    page.get_by_label("Name").fill("PEPPER")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_label("Name")).to_have_value("PEPPER")
    expect(page.locator("[aria-invalid=true]")).to_have_attribute("type", "password")
    visitor.look("secret-new-wrong")
    page.get_by_label("Value", exact=True).fill("a pepper for a browser")
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("table")).to_contain_text("in use")
    visitor.links()
    page.get_by_role("button", name="Show", exact=True).click()
    expect(page.locator("pre.command")).to_have_text("a pepper for a browser")
    visitor.look("secret-shown")
    page.get_by_role("link", name="Back to the secrets").click()
    page.get_by_role("link", name="Remove…").click()
    visitor.look("secret-remove")
    page.get_by_role("link", name="Leave it as it is").click()


def take_over(browser, garden, scratch, name, javascript):
    """A third instance is appointed, keeps the collection laid out, and takes it over on its own pages when the first is gone."""
    with Instance(scratch, name) as heir:
        line = re.search(r"bulbil:\S+", garden.run("invite", "--collections", "notes")).group()
        heir.run("clone", line)
        garden.run("peer", "appoint", name, "--collections", "notes")
        heir.run("sync")
        heir.serve()
        visitor = Visitor(browser, heir, javascript)
        page = visitor.page
        log_in_first(visitor)
        laid_out = heir.folder / "laid-out"
        visitor.go("/collections/notes")
        page.get_by_label("In this folder").fill(str(laid_out))
        page.get_by_role("button", name="Keep it laid out").click()
        page.get_by_role("button", name="Lay it out now").click()
        page.wait_for_load_state()
        heir.wait("the snapshot to be laid out", lambda: heir.api("/admin/v1/standbys/notes")["laid_out"])
        assert (laid_out / "first.txt").read_text() == "what is not to be lost\n"
        visitor.go("/collections/notes")
        expect(page.locator("#standby")).to_contain_text("the newest snapshot is laid out")
        visitor.look("standby")
        visitor.go("/collections/notes/promote")
        expect(page.get_by_label("Where its data is now")).to_have_value(str(laid_out))
        visitor.look("promote")
        page.get_by_role("button", name="Take it over").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("notes")
        (laid_out / "second.txt").write_text("made after the takeover\n")
        run_to_its_end(visitor, "Back up now", "run-backup-after-takeover")
        visitor.go("/collections/notes")
        expect(page.get_by_role("main")).to_contain_text("@2")
        visitor.look("taken-over")
        return visitor.wrong


def journey(browser, scratch, javascript):
    kind = "js" if javascript else "plain"
    with Instance(scratch, f"garden-{kind}") as garden:
        data = garden.folder / "notes"
        data.mkdir()
        (data / "first.txt").write_text("what is not to be lost\n")
        garden.serve()
        visitor = Visitor(browser, garden, javascript)

        log_in_first(visitor)
        expect(visitor.page.get_by_role("heading", level=2).first).to_have_text("Nothing is backed up yet")
        visitor.look("overview-empty")
        visitor.links()

        first_collection(visitor, data)
        run_to_its_end(visitor, "Back up now", "run-backup")
        browse_and_download(visitor)
        second_clones(garden, scratch, f"friend-{kind}", invite(visitor))
        revoke(visitor)
        visitor.go("/collections/notes")
        run_to_its_end(visitor, "Try a restore", "run-drill")

        disk = garden.folder / "usb"
        disk.mkdir()
        another_place(visitor, disk)
        who_is_told(visitor)
        a_secret(visitor)

        garden.run("schedule", "notes", "--backup", "30 2 * * *", "--drill", "@monthly", "--rpo", "24h")
        for name, path in PAGES.items():
            visitor.go(path)
            visitor.look(name)
            visitor.links()
        visitor.go("/")
        expect(visitor.page.locator("article.card")).to_contain_text("Up to date: no more than 24 hours could be lost")

        assert visitor.go("/no/such/page").status == 404
        expect(visitor.page.get_by_role("heading", level=1)).to_have_text("Nothing here")
        visitor.look("nothing-here")
        visitor.go("/")
        log_out_and_in(visitor)
        return visitor.wrong + take_over(browser, garden, scratch, f"heir-{kind}", javascript)


def main():
    scratch = Path(os.environ["SCRATCH"])
    started = time.monotonic()
    wrong = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])
        for javascript in (True, False):
            found = journey(browser, scratch, javascript)
            wrong.extend(f"{'with' if javascript else 'without'} JavaScript: {one}" for one in found)
        browser.close()
    for one in dict.fromkeys(wrong):
        print(f"FAILED: {one}")
    print(f"browser: {len(set(wrong))} findings, {time.monotonic() - started:.0f} s; pictures in {SCREENSHOTS}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
