"""Text files are read whatever their encoding; binary files are not."""

from __future__ import annotations

import pytest

from cco_sidecar.repository.encodings import decode

TEXTS = {
    "shift_jis": ("# 設定ファイルの読み込み\ndef load(path):\n    return open(path)  # ファイルを開く\n", "shift_jis"),
    "euc_jp": ("# 設定ファイルを読み込みます。\n# ファイルがない場合は例外を送出します。\n", "euc_jp"),
    "gbk": ('// 读取配置文件\nint main() { printf("你好，世界"); } // 打印问候\n', "gbk"),
    "big5": ('# 讀取設定檔案\nprint("你好，世界，歡迎使用")\n', "big5"),
    "euc_kr": ('# 설정 파일을 읽습니다\nprint("안녕하세요 세계")\n', "euc_kr"),
    "windows-1251": ('# Чтение файла настроек\nprint("Привет, мир")\n', "cp1251"),
    "koi8_r": ('# Чтение файла настроек\nprint("Привет, мир")\n', "koi8_r"),
    "windows-1252": ("// Größe der Tür prüfen – naïve café\nint größe = 3;\n", "cp1252"),
    "utf-16-le": ("string Name = 1;\n// größer\n", "utf-16-le"),
    "utf-16-be": ("string Name = 1;\n// größer\n", "utf-16-be"),
    "utf-16": ("設定\n", "utf-16"),
    "utf-8": ("größe = 設定\n", "utf-8"),
}


@pytest.mark.parametrize("name", TEXTS)
def test_a_text_is_read_and_its_encoding_named(name: str) -> None:
    text, codec = TEXTS[name]
    decoded = decode(text.encode(codec))
    assert decoded is not None and (decoded.text, decoded.encoding) == (text, name)


def test_one_stray_byte_changes_one_character() -> None:
    text = "Größe, Tür, naïve, café, über, Straße, groß, mañana, señor, niño\n" * 3
    decoded = decode(text.encode() + b"\xff rest\n")
    assert decoded is not None and (decoded.text, decoded.encoding) == (f"{text}\ufffd rest\n", "utf-8")


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    for data in (b"\xef\xbb\xbfx = 1\n", b"\xff\xfex\x00"):
        decoded = decode(data)
        assert decoded is not None and decoded.text.startswith("x")


@pytest.mark.parametrize(
    "data",
    [
        b"\x89PNG\r\n\x1a\n\0\0\0",
        b"\x7fELF\x02\x01\x01\0" + b"\0" * 50,
        b"a\0b",
        bytes(range(256)),
        b"\xff\xfe\0\0a\0\0\0",
    ],
)
def test_binary_data_is_no_text(data: bytes) -> None:
    assert decode(data) is None


def test_a_long_beginning_in_ascii_does_not_hide_the_encoding() -> None:
    text = "x = 1\n" * 4000 + TEXTS["shift_jis"][0]
    decoded = decode(text.encode("shift_jis"))
    assert decoded is not None and (decoded.text, decoded.encoding) == (text, "shift_jis")
