"""Damage to a text file of the kinds that downloads, editors and scripts do."""

PIECES = [
    *(
        b'"',
        b'""',
        b",",
        b"\n",
        b"\r\n",
        b"\r",
        b"\0",
        b";",
        b"\\",
        b"\xef\xbb\xbf",
        b"\xff",
        b"\xe2",
    ),
    *(b"{", b"}", b"[", b"]", b":", b"NaN", b"1e999", b"\xff\xfe", b" ", b"0", b"_", b"null"),
]


def mutate(content, chance):
    """One to three damages of the kinds that downloads, editors and scripts do."""
    for _ in range(chance.randint(1, 3)):
        start = chance.randrange(len(content) + 1)
        stop = min(len(content), start + chance.choice((1, 1, 2, 5, 40)))
        piece = chance.choice(PIECES)
        kind = chance.randrange(6)
        if kind == 0:
            content = content[:start] + piece + content[start:]
        elif kind == 1:
            content = content[:start] + piece + content[stop:]
        elif kind == 2:
            content = content[:start] + content[stop:]
        elif kind == 3:
            content = content[:stop] + content[start:stop] + content[stop:]
        elif kind == 4 and start < len(content):
            flipped = content[start] ^ 1 << chance.randrange(8)
            content = content[:start] + bytes([flipped]) + content[start + 1 :]
        else:
            content = (
                content[:start] if chance.random() < 0.3 else content[start:] + content[:start]
            )
    return content
