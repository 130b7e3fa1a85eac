"""registry.db by hand: adapterd refuses a file that another program has written to, and takes over one without checksums."""
import os
import sqlite3

APPLICATION_ID = 0x61647064


def edit(path, *statements):
    """Run statements on a database of a daemon that is stopped, as its administrator would: on a dump of it."""
    path = str(path)
    old, new = sqlite3.connect(path), sqlite3.connect(path + ".edited")
    new.executescript("\n".join(old.iterdump()))
    counts = [new.execute(statement).rowcount for statement in statements]
    new.commit()
    (version,) = old.execute("PRAGMA user_version").fetchone()
    new.executescript(f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version}")
    old.close()
    new.close()
    os.rename(path + ".edited", path)
    return counts
