"""How wide a text is in the letters of a badge.

The advances are those of DejaVu Sans 2.37, measured in its `hmtx` table: a free font drawn to Verdana's proportions,
the one that browsers without Verdana fall back to.  A badge tells browsers this width (`textLength`), so that whatever
font they have fills the room that was made for it.
"""

from __future__ import annotations

_UNITS = 2048
"""Of the font's design grid, to an em."""
_WIDEST = 2048
"""For a letter that is not in the table: nothing common is wider than an em."""
# fmt: off
_LETTERS = {
    563: "'",
    569: "ijlìíîïĩīĭįıĵĺļ",
    582: "ł",
    604: "IJÌÍÎÏĨĪĬĮİĴΙΪ",
    651: " ,.·‘’",
    690: '/:;\\|¦',
    693: "ίι",
    700: "ŀ",
    721: "fſ",
    739: "-",
    768: "ľ",
    799: "()[]",
    803: "tţťŧ",
    821: "!¡²³¹",
    842: "rŕŗř",
    942: '"',
    965: "ªº",
    1024: "*_`§¨¯°´¸–",
    1061: "“”",
    1067: "sśŝşš",
    1075: "zźżž",
    1076: "г",
    1087: "?¿",
    1089: "з",
    1107: "έε",
    1114: "ζ",
    1124: "э",
    1126: "cçćĉċčс",
    1138: "ĳ",
    1141: "LĹĻĽĿΓ",
    1142: "ξ",
    1144: "ν",
    1151: "Ł",
    1178: "F",
    1183: "χ",
    1185: "ΰυ",
    1186: "kķĸ",
    1193: "т",
    1202: "ς",
    1207: "κвь",
    1208: "Ĳ",
    1210: "ч",
    1212: "vxyýÿŷγλух",
    1232: "я",
    1233: "πτ",
    1235: "PΡР",
    1237: "к",
    1239: "Þ",
    1248: "У",
    1249: "Г",
    1251: "TYÝŢŤŦŶŸΤΥΫТ",
    1253: "o«»ðòóôõöøōŏőδθοо",
    1255: "aàáâãäåāăąа",
    1260: "eèéêëēĕėęěе",
    1263: "б",
    1290: "ß",
    1294: "EÈÉÊËĒĔĖĘĚΕΞΣЕ",
    1298: "hnuñùúûüĥńņňŋũūŭůűųήησ",
    1300: "SbdgpqþďđĝğġģŚŜŞŠρр",
    1303: "$0123456789{}¢£¤¥µ¶μ€",
    1307: "β",
    1309: "л",
    1313: "З",
    1331: "ий",
    1339: "нп",
    1343: "KĶΚ",
    1350: "άα",
    1351: "φψ",
    1394: "ц",
    1401: "AVÀÁÂÃÄÅĀĂĄΑΔΛА",
    1403: "XZŹŻŽΖΧХ",
    1404: "Ч",
    1405: "BΒБВЬ",
    1416: "д",
    1423: "RħŔŖŘЯ",
    1430: "CÇĆĈĊČСЭ",
    1447: "ъ",
    1454: "К",
    1499: "UÙÚÛÜŨŪŬŮŰŲ",
    1532: "NÑŃŅŇŊΝИЙ",
    1540: "HĤΗΠЛНП",
    1545: "м",
    1565: "Ω",
    1577: "DĎ",
    1587: "GÐĐĜĞĠĢ",
    1590: "Ц",
    1597: "&",
    1600: "Д",
    1612: "OQÒÓÔÕÖØŌŎŐΘΟΦΨО",
    1617: "ы",
    1666: "ŉ",
    1675: "wŵ",
    1705: "Ъ",
    1715: "ω",
    1716: "#+<=>^~¬±×÷→≥≤",
    1724: "ю",
    1751: "ф",
    1763: "Ф",
    1767: "MΜМ",
    1807: "Ы",
    1845: "ж",
    1874: "ш",
    1876: "Ħ",
    1929: "щ",
    1946: "%",
    1985: "¼½¾",
    1995: "mÆ",
    2011: "æ",
    2025: "WŴ",
    2048: "@©®…—™",
    2095: "œ",
    2190: "Ш",
    2191: "Œ",
    2206: "Ж",
    2211: "Ю",
    2240: "Щ",
}
# fmt: on
_ADVANCES = {letter: units for units, letters in _LETTERS.items() for letter in letters}


def text_width(text: str, size: float = 11.0) -> float:
    """The width of `text` in pixels, in letters of `size` pixels."""
    return sum(map(_units, text)) * size / _UNITS


def _units(letter: str) -> int:
    known = _ADVANCES.get(letter)
    if known is not None:
        return known
    import unicodedata

    return 0 if unicodedata.combining(letter) else _WIDEST
