"""What columns are usually called, and what cells usually hold."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

from batch.manifest.problems import unfit_text

#: Column names people use in several languages, best first; compared folded (letters and digits only).
ID_NAMES: Final = (
    "handle",
    "url handle",
    "handle id",
    "sku",
    "item sku",
    "seller sku",
    "contribution sku",
    "product code sku",
    "id",
    "product id",
    "item id",
    "article id",
    "Artikelnummer",
    "Artikel-Nr",
    "Art-Nr",
    "art no",
    "article number",
    "article no",
    "item number",
    "item no",
    "part number",
    "product number",
    "product code",
    "Produktnummer",
    "Bestellnummer",
    "variant sku",
    "asin",
    "ean",
    "gtin",
    "barcode",
    "slug",
    "url key",
    "key",
    "code",
    "nr",
    "number",
    "UGS",
    "référence",
    "ref",
    "código",
    "referencia",
    "codice",
    "codice articolo",
    "artikelkode",
    "varenummer",
    "tuotenumero",
    "kod produktu",
    "indeks",
    "артикул",
    "код",
    "货号",
    "商品编号",
    "编号",
    "编码",
    "商品コード",
    "商品番号",
    "品番",
    "상품코드",
    "상품번호",
)
PROMPT_NAMES: Final = ("prompt", "image prompt", "prompt text")
TITLE_NAMES: Final = (
    "title",
    "name",
    "product",
    "product name",
    "product title",
    "nombre del producto",
    "Produkttitel",
    "item name",
    "article name",
    "Produktname",
    "Produkt",
    "Artikelname",
    "Artikel",
    "Artikelbezeichnung",
    "Bezeichnung",
    "Titel",
    "titre",
    "nom",
    "nom du produit",
    "título",
    "nombre",
    "titolo",
    "nome",
    "nome prodotto",
    "naam",
    "productnaam",
    "omschrijving kort",
    "namn",
    "navn",
    "nimi",
    "nazwa",
    "nazwa produktu",
    "tytuł",
    "název",
    "название",
    "наименование",
    "товар",
    "标题",
    "名称",
    "商品名称",
    "品名",
    "商品名",
    "タイトル",
    "상품명",
    "제품명",
)
TEXT_NAMES: Final = (
    "body html",
    "body",
    "description",
    "product description",
    "item description",
    "short description",
    "long description",
    "Beschreibung",
    "Produktbeschreibung",
    "Artikelbeschreibung",
    "Kurzbeschreibung",
    "text",
    "details",
    "descripción",
    "descripción corta",
    "description courte",
    "descrição",
    "descrição curta",
    "breve descrizione",
    "korte beschrijving",
    "beschrijving",
    "krótki opis",
    "kort beskrivning",
    "краткое описание",
    "簡単な説明",
    "bullet point1",
    "bullet point",
    "descrizione",
    "omschrijving",
    "beskrivning",
    "beskrivelse",
    "kuvaus",
    "opis",
    "popis",
    "описание",
    "描述",
    "商品描述",
    "说明",
    "商品説明",
    "説明",
    "설명",
    "상품설명",
)
#: Names that say no more than that this line is a header.
COMMON_NAMES: Final = (
    *("price", "preis", "prix", "precio", "prezzo", "cost", "quantity", "qty", "stock", "menge", "bestand", "lager"),
    *("color", "colour", "farbe", "size", "größe", "brand", "marke", "vendor", "category", "categories", "kategorie"),
    *("type", "typ", "tags", "weight", "gewicht", "material", "status", "published", "image", "images", "image url"),
    *("image src", "image link", "photo", "photos", "picture", "url", "link", "availability", "condition", "currency"),
    *("date", "notes", "options", "barcode", "location", "scene", "style", "ratio"),
)
#: What stands in place of a product in the last row of a spreadsheet.
TOTALS: Final = frozenset(
    {"total", "totals", "grandtotal", "subtotal", "sum", "summe", "gesamt", "gesamtsumme", "somme", "totale", "totaal"}
    | {"suma", "итого", "合计", "总计", "合計", "합계"}
)
PICTURE_NAME: Final = re.compile(
    "image|picture|photo|bild|foto|img|imagem|imagen|immagin|afbeelding|zdjeci|obraz|изображени|фото|图|画像|이미지"
)
PICTURE_FILE: Final = re.compile(r"(?i)\.(png|jpe?g|webp|gif|bmp|tiff?|avif)$")
PICTURE_FOLDERS: Final = ("", "photos", "images", "pictures", "bilder", "fotos", "img")
PICTURE_ENDINGS: Final = (".jpg", ".png", ".webp", ".jpeg")
#: What an export did to text: `\n` for a line end, an apostrophe before a sign.
ESCAPED: Final = re.compile(r"^'[=+@\t\r-]|(?<![A-Za-z]:)\\n(?=[\s<\\A-Z]|[^\W\da-z_]|$)")
MEASURE: Final = re.compile(r"price|preis|cost|qty|quantity|menge|stock|bestand|weight|gewicht|grams")
DECIMAL: Final = re.compile(r"\d+[.,]\d+")
TAG: Final = re.compile(r"</?[a-zA-Z][^>]*>|&[a-zA-Z#0-9]+;")
ADDRESS: Final = re.compile(r"https://([A-Za-z0-9.-]+\.[A-Za-z][A-Za-z0-9-]*)/")
NAMED_HOSTS: Final = 4


_QUALIFIED: Final = re.compile(r"\[[^\]]*\]|#\d+\.\w+")


def fold(name: str) -> str:
    """`Artikel-Nr.` and `artikelnr` are the same name, and `item_name[language_tag=en_US]#1.value` is `item name`."""
    name = _QUALIFIED.sub("", name).removeprefix("g:")
    letters = (character for character in unicodedata.normalize("NFKD", name) if not unicodedata.combining(character))
    return re.sub(r"[\W_]", "", "".join(letters).casefold())


def usable(name: str) -> bool:
    """A column that can be named in a manifest."""
    return bool(name) and name.isprintable() and unfit_text(name) is None
