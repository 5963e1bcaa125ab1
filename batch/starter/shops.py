"""What is known of the exports of shops and marketplaces: how to tell one, and which of its rows are no products.

All of it is data. A shop that is not listed is treated like any table: by the names of its columns in many
languages, and by what they hold.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

Names: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowRule:
    """Rows that make no job, known by the word in one column; capitals and spaces do not matter.

    Rows with a word of `leave_out` are left out, or, if `keep` is given, those with any other word than these. The
    rule holds only for a table in which one of its words, or of `usual`, occurs. `is_part`: a word of `leave_out` may
    be a part of the cell. `per`: it holds only where a picture is made per `product`, or per `variant`. `what` names
    the rows left out.
    """

    columns: Names
    what: str
    leave_out: Names = ()
    keep: Names = ()
    usual: Names = ()
    is_part: bool = False
    per: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shop:
    """One kind of export. Of each of the `signs` it has one column at least, and a column of `words` if given.

    `ids`, `pictures` and `variant_pictures` are its columns for these, best first; `split` stands between several
    addresses in a cell. `options`: what tells a product's variants apart. `first_row`: texts stand in the first row
    of a product only. `escaped`: cells need `unescape`.
    """

    name: str
    signs: tuple[Names, ...] = ()
    words: Names = ()
    ids: Names = ()
    pictures: Names = ()
    split: str | None = None
    variant_pictures: Names = ()
    options: Names = ()
    rules: tuple[RowRule, ...] = ()
    first_row: bool = False
    escaped: bool = False

    @property
    def has_variants(self) -> bool:
        """Whether it is known how to make a picture of every variant."""
        return bool(self.options) or any(rule.per == "variant" for rule in self.rules)


_STATUS: Final = (
    *("status", "state", "product status", "listing status", "zustand", "estado", "statut", "stato", "статус"),
    *("ステータス", "状态", "상태"),
)
_PUBLISHED: Final = (
    *("published", "is published", "published on online store", "publish", "online", "is visible", "visible"),
    *("product visible", "visible product", "active", "is active", "active 0 1", "enabled", "is enabled"),
    *("veröffentlicht", "sichtbar", "aktiv", "publié", "publicado", "pubblicato", "gepubliceerd", "opublikowano"),
    *("opublikowany", "publicerad", "publisert", "udgivet", "julkaistu", "publikováno", "опубликовано", "опубликован"),
    *("опубліковано", "публикуван", "közzétéve", "publicat", "zverejnené", "objavljeno", "yayımlanmış", "δημοσιευμένο"),
    *("פורסם", "منشور", "đã xuất bản", "公開", "公開済み", "已发布", "已發佈", "발행됨", "게시됨"),
)

#: Rules for any table.
COMMON_RULES: Final = (
    RowRule(
        columns=_STATUS,
        what="drafts and products that are not on sale",
        leave_out=("draft", "archived", "inactive", "unpublished"),
        usual=("active", "published", "publish", "live", "unlisted"),
    ),
    RowRule(columns=_STATUS, what="drafts", leave_out=("entwurf", "archiviert"), usual=("aktiv", "veröffentlicht")),
    RowRule(columns=_STATUS, what="drafts", leave_out=("brouillon", "archivé"), usual=("actif", "publié")),
    RowRule(columns=_STATUS, what="drafts", leave_out=("borrador", "archivado"), usual=("activo", "publicado")),
    RowRule(columns=_PUBLISHED, what="products that are not published", leave_out=("false",), usual=("true",)),
    RowRule(columns=_PUBLISHED, what="products that are not published", leave_out=("no",), usual=("yes",)),
    RowRule(columns=_PUBLISHED, what="products that are not published", leave_out=("n",), usual=("y",)),
    RowRule(
        columns=_PUBLISHED,
        what="drafts (-1) and products that are not published (0)",
        leave_out=("0", "-1", "'-1"),
        usual=("1",),
    ),
)

_WOOCOMMERCE_TYPES: Final = (
    *("simple", "variable", "variation", "grouped", "external", "virtual", "downloadable", "subscription"),
    *("variable-subscription", "subscription_variation", "bundle", "composite", "booking", "gift-card"),
)
#: Stands in a rule for the column of the shop's `words`, whatever its name.
WORDS_COLUMN: Final = "(words)"

SHOPS: Final = (
    Shop(
        name="Shopify",
        signs=(
            ("handle", "url handle"),
            ("title",),
            (
                *("body html", "option1 name", "option1 value", "variant sku", "variant price", "image src"),
                *("product image url", "published on online store", "variant image url"),
            ),
        ),
        ids=("url handle", "handle"),
        pictures=("product image url", "image src", "image source"),
        variant_pictures=("variant image url", "variant image"),
        options=("option1 value", "option2 value", "option3 value"),
        first_row=True,
    ),
    Shop(
        name="Magento",
        signs=(("sku",), ("attribute set code",), ("product type", "store view code", "product online")),
        ids=("sku",),
        pictures=("base image", "image", "additional images"),
        split=",",
        rules=(
            RowRule(columns=("store view code",), what="texts of single store views", keep=("", "default", "admin")),
            RowRule(
                columns=("visibility",),
                what="variants",
                leave_out=("not visible individually",),
                usual=("catalog, search", "catalog", "search"),
                per="product",
            ),
            RowRule(
                columns=("product type",),
                what="products of which each variant has its picture",
                leave_out=("configurable",),
                usual=("simple",),
                per="variant",
            ),
            RowRule(
                columns=("product online",), what="products that are not online", leave_out=("2", "0"), usual=("1",)
            ),
        ),
    ),
    Shop(
        name="WooCommerce",
        words=_WOOCOMMERCE_TYPES,  # its columns have names in the shop's language, its types have not
        split=",",
        escaped=True,
        rules=(
            RowRule(
                columns=(WORDS_COLUMN,),
                what="variants",
                leave_out=("variation",),
                is_part=True,
                usual=_WOOCOMMERCE_TYPES,
                per="product",
            ),
            RowRule(
                columns=(WORDS_COLUMN,),
                what="products of which each variant has its picture",
                leave_out=("variable",),
                is_part=True,
                usual=_WOOCOMMERCE_TYPES,
                per="variant",
            ),
        ),
    ),
    Shop(
        name="BigCommerce",
        signs=(
            ("item", "item type"),
            (
                *("current stock", "inventory tracking", "image url import", "internal image url export"),
                *("product id", "product code sku"),
            ),
        ),
        ids=("sku", "product code sku", "id", "product id"),
        pictures=("product image url 1", "product image file 1"),
        rules=(
            RowRule(
                columns=("item", "item type"),
                what="rows of variants, pictures, videos and rules",
                keep=("product",),
            ),
        ),
    ),
    Shop(
        name="Amazon",
        signs=(
            ("item sku", "contribution sku", "seller sku", "sku"),
            ("item name",),
            (
                *("feed product type", "product type", "listing id", "asin1", "brand name", "external product id"),
                *("main image url", "main product image locator", "parentage level", "record action"),
            ),
        ),
        ids=("item sku", "contribution sku", "seller sku", "sku"),
        pictures=("main image url", "main product image locator", "image url"),
        rules=(
            RowRule(
                columns=("parent child", "parentage", "parentage level"),
                what="variants",
                leave_out=("child",),
                usual=("parent",),
                per="product",
            ),
            RowRule(
                columns=("parent child", "parentage", "parentage level"),
                what="products of which each variant has its picture",
                leave_out=("parent",),
                usual=("child",),
                per="variant",
            ),
            RowRule(
                columns=("update delete", "record action", "listing action"),
                what="listings to be deleted",
                leave_out=("delete",),
                usual=("update", "partialupdate", "create or replace (full update)", "edit (partial update)"),
            ),
            RowRule(
                columns=("status",),
                what="listings that are not on sale",
                leave_out=("inactive", "incomplete"),
                usual=("active",),
            ),
        ),
    ),
    Shop(
        name="Etsy",
        signs=(("title",), ("currency code",), ("image1", "variation 1 type", "materials")),
        ids=("sku",),
        pictures=("image1",),
    ),
    Shop(
        name="Google Merchant",
        signs=(("id",), ("title",), ("availability", "condition", "google product category"), ("image link",)),
        ids=("id",),
        pictures=("image link", "additional image link"),
    ),
    Shop(
        name="Wix",
        signs=(("handleid",), ("fieldtype",)),
        ids=("handleid",),
        pictures=("product image url", "productimageurl"),
        split=";",
        rules=(RowRule(columns=("fieldtype",), what="variants", keep=("product",)),),
    ),
    Shop(
        name="PrestaShop",
        signs=(("active 0 1",), ("image urls x y z",)),
        ids=("product id", "id"),
        pictures=("image urls x y z",),
        split=",",
    ),
)
