"""The command line of the test peer: a live Axon BBS for tests. See README.md.

Each subcommand works on the folder DIR of one instance and prints JSON, unless it says otherwise.
"""

import argparse
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import clone
import content
import dump
import folder
import install
import installed
import keys
from defects import DEFECTS
from instance import Instance
from puller import Puller
from server import Server


def new(args):
    private_key = open(args.key, encoding="utf-8").read() if args.key else None
    instance = Instance.create(args.dir, args.seed, args.bits, private_key, args.onion)
    return {"checksum": keys.checksum(instance.pubkey), "pubkey": instance.pubkey}


def fill(args):
    instance = Instance.load(args.dir)
    content.Filler(instance, args.at).fill(
        args.messages, args.files, args.applets, args.pms, args.users, args.actions)
    hashes = {row["content_hash"]: len(row["chunk_hashes"]) for table in ("messages", "files", "pms")
              for row in (it["manifest"] for it in instance[table])}
    return {"items": len(hashes), "chunks": sum(hashes.values()), "applets": len(instance["applets"])}


def key(args):
    instance = Instance.load(args.dir)
    sys.stdout.write(keys.private_text(instance.private) if args.private else instance.pubkey + "\n")


def trust(args):
    instance = Instance.load(args.dir)
    pem = sys.stdin.read() if args.pem == "-" else open(args.pem, encoding="utf-8").read()
    instance.trust(pem, args.url, not args.distrust)
    instance.save()
    return {"checksum": keys.checksum(pem), "url": args.url}


def serve(args):
    server = Server(args.dir, args.port, args.defect, args.frontend)
    print(json.dumps({"listening": server.port, "url": f"http://127.0.0.1:{server.port}"}), flush=True)
    try:
        server.serve_forever(0.05)
    except KeyboardInterrupt:
        server.server_close()


def pull(args):
    return Puller(Instance.load(args.dir), args.socks).run(args.since)


def run_clone(args):
    return clone.clone(Instance.load(args.dir), args.url, args.socks, args.backup_dir, args.skip_config, args.skip_applets)


def run_dump(args):
    return dump.dump(Instance.load(args.dir))


def backup(args):
    return {"folder": folder.backup(Instance.load(args.dir), args.output, args.applet, args.date, args.as_head)}


def restore(args):
    return folder.restore(Instance.load(args.dir), args.source, args.applet, args.skip_chunks, args.rekey, args.as_head)


def reseal(args):
    instance = Instance.load(args.dir)
    content.reseal(instance, args.content_hash)


def act(args):
    instance = Instance.load(args.dir)
    content.Filler(instance).add_action(args.type, args.pubkey, args.content_hash, json.loads(args.details))
    instance.save()
    return instance["actions"][-1]


def run_install(args):
    return install.install(Instance.load(args.dir), args.out)


def run_adopt(args):
    installed.adopt(args.source, args.dir)


def arguments():
    parser = argparse.ArgumentParser(prog="peer.py", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name, call, help):
        sub = commands.add_parser(name, help=help)
        sub.add_argument("dir", metavar="DIR")
        sub.set_defaults(call=call)
        return sub

    sub = command("new", new, "makes an instance")
    sub.add_argument("--seed", type=int, default=1)
    sub.add_argument("--bits", type=int, default=2048, choices=[2048, 3072, 4096])
    sub.add_argument("--key", metavar="FILE", help="a PEM private key to take instead of a fresh one")
    sub.add_argument("--onion", default="", help="its own host name, for the Host check")
    sub = command("fill", fill, "adds content; without options the standard set")
    for name, default in (("messages", 5), ("files", 4), ("applets", 6), ("pms", 2), ("users", 3), ("actions", 0)):
        sub.add_argument(f"--{name}", type=int, default=default)
    sub.add_argument("--at", metavar="ISO", help="the moment of the first row; now if not given")
    sub = command("key", key, "prints the public key as PEM")
    sub.add_argument("--private", action="store_true")
    sub = command("trust", trust, "adds or changes a trusted-instance row")
    sub.add_argument("--pem", required=True, metavar="FILE", help="- for stdin")
    sub.add_argument("--url", default="")
    sub.add_argument("--distrust", action="store_true", help="the row stays, no longer trusted")
    sub = command("serve", serve, "serves on 127.0.0.1; prints a JSON line when it listens")
    sub.add_argument("--port", type=int, default=0)
    sub.add_argument("--frontend", action="store_true", help="a front end build is installed (section 7)")
    sub.add_argument("--defect", action="append", default=[], metavar="NAME[=ARG]", help="; ".join(sorted(DEFECTS)))
    sub = command("pull", pull, "one pass over all trusted peers; prints what happened")
    sub.add_argument("--since", metavar="ISO")
    sub.add_argument("--socks", metavar="HOST:PORT")
    sub = command("clone", run_clone, "clones a trusted peer; prints what happened")
    sub.add_argument("url", metavar="URL")
    sub.add_argument("--socks", metavar="HOST:PORT")
    sub.add_argument("--backup-dir", metavar="D")
    sub.add_argument("--skip-config", action="store_true")
    sub.add_argument("--skip-applets", action="store_true")
    command("dump", run_dump, "prints everything that is stored")
    sub = command("backup", backup, "writes a backup directory")
    sub.add_argument("--output", required=True, metavar="D")
    sub.add_argument("--applet", metavar="NAME")
    sub.add_argument("--date", metavar="YYYYMMDD_HHMMSS")
    sub.add_argument("--as-head", action="store_true", help="fails as the real command does")
    sub = command("restore", restore, "restores a backup directory")
    sub.add_argument("source", metavar="D")
    sub.add_argument("--applet", metavar="NAME")
    sub.add_argument("--skip-chunks", action="store_true")
    sub.add_argument("--rekey", action="store_true")
    sub.add_argument("--as-head", action="store_true", help="fails as the real command does")
    sub = command("reseal", reseal, "encrypts an item again: other key, IV and chunks")
    sub.add_argument("content_hash", metavar="HASH")
    sub = command("act", act, "adds a federated action")
    sub.add_argument("type")
    sub.add_argument("--pubkey")
    sub.add_argument("--content-hash")
    sub.add_argument("--details", default="{}", metavar="JSON")
    sub = command("install", run_install, "writes an installation: database, .env, chunk store")
    sub.add_argument("out", metavar="OUT")
    sub = command("adopt", run_adopt, "makes an instance of what an installation holds")
    sub.add_argument("source", metavar="INSTALL")
    return parser


def main():
    args = arguments().parse_args()
    try:
        result = args.call(args)
    except (clone.CloneFailed, folder.FolderError, ValueError, OSError) as error:
        print(f"peer.py: {error}", file=sys.stderr)
        return 1
    try:
        if result is not None:
            print(json.dumps(result, indent=1), flush=True)
    except BrokenPipeError:
        # Whoever reads has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
