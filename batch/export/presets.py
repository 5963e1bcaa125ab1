"""The presets: nothing but settings. Whatever they do, `--set` and the other options do as well.

Columns are found by their names without regard to case, spaces and underscores, and keep the table's own spelling.
"""

from __future__ import annotations

from typing import Final

from batch.export.settings import Column, Layout, Preset

_IMAGE: Final = Column(names=("image",), value="{{ link }}", numbered=True)
_SHOPIFY_HANDLE: Final = ("Handle", "URL handle")
_SHOPIFY_IMAGE: Final = Column(names=("Image Src", "Product image URL"), value="{{ url }}", in_further_rows=True)
_SHOPIFY_REST: Final = (
    Column(
        names=("Image Position", "Image position"), value="{{ current or next }}", added_for=2, in_further_rows=True
    ),
    Column(
        names=("Image Alt Text", "Image alt text"), value="{{ current or caption }}", added_for=0, in_further_rows=True
    ),
)
_SHOPIFY_NEXT: Final = (
    "upload the folder images/, so that the addresses in the table open in a browser; then in Shopify: Products, "
    'Import, and tick "Overwrite products with matching handles"'
)

_ALL: Final = (
    Preset(
        name="table",
        summary="your table with a column image (image_2, ... if there are several)",
        columns=(_IMAGE,),
    ),
    Preset(
        name="shopify",
        summary="Shopify's product CSV, old and new header: Image Src or Product image URL",
        columns=(_SHOPIFY_IMAGE, *_SHOPIFY_REST),
        further_rows_by=_SHOPIFY_HANDLE,
        needs_url=True,
        next_step=_SHOPIFY_NEXT,
    ),
    Preset(
        name="shopify-variants",
        summary="the same for jobs of variants: the picture is the variant's, too",
        columns=(
            _SHOPIFY_IMAGE,
            *_SHOPIFY_REST,
            Column(names=("Variant Image", "Variant image URL"), value="{{ url }}"),
        ),
        further_rows_by=_SHOPIFY_HANDLE,
        needs_url=True,
        next_step=_SHOPIFY_NEXT,
    ),
    Preset(
        name="woocommerce",
        summary="WooCommerce's product CSV: first in Images, before the other pictures that stand there",
        columns=(Column(names=("Images",), value='{{ (urls + existing[1:]) | join(", ") }}'),),
        needs_url=True,
        next_step=(
            "upload the folder images/, so that the addresses in the table open in a browser; then in WooCommerce: "
            'Products, Import, and tick "Update existing products"'
        ),
    ),
    Preset(
        name="merchant",
        summary="Google Merchant Center: image_link, additional_image_link (10 at most)",
        columns=(
            Column(names=("image_link",), value="{{ url }}"),
            Column(
                names=("additional_image_link",),
                value='{{ (urls[1:] + existing)[:10] | join(",") }}',
                added_for=2,
            ),
        ),
        needs_url=True,
        next_step=(
            "upload the folder images/, so that the addresses in the table open in a browser; then add the table as a "
            "data source in Merchant Center. Google asks that the mark of AI pictures stays in the files"
        ),
    ),
    Preset(
        name="merchant-lifestyle",
        summary="the same, as lifestyle_image_link beside the image_link you have",
        columns=(Column(names=("lifestyle_image_link",), value="{{ url }}"),),
        needs_url=True,
        next_step="upload the folder images/, then add the table as a data source in Merchant Center",
    ),
    Preset(name="csv", summary="CSV", columns=(_IMAGE,), table_format="csv"),
    Preset(name="jsonl", summary="JSON lines", columns=(_IMAGE,), table_format="jsonl"),
    Preset(
        name="parquet",
        summary="Parquet (pip install 'imagebatch[parquet]')",
        columns=(_IMAGE,),
        table_format="parquet",
    ),
    Preset(name="xlsx", summary="a workbook (pip install 'imagebatch[xlsx]')", columns=(_IMAGE,), table_format="xlsx"),
    Preset(
        name="imagefolder",
        summary="Hugging Face imagefolder: pictures with a metadata.jsonl",
        columns=(Column(names=("file_name",), value="{{ path }}"), Column(names=("text",), value="{{ prompt }}")),
        layout=Layout.PICTURES,
        table_format="jsonl",
        table_name="metadata.jsonl",
        next_step='datasets.load_dataset("imagefolder", data_dir="{folder}")',
    ),
    Preset(
        name="webdataset",
        summary="WebDataset tars: picture, .json and .txt of each",
        layout=Layout.TARS,
        next_step='webdataset.WebDataset("{folder}/{00000..N}.tar")',
    ),
    Preset(
        name="folder",
        summary="pictures alone, named by --names",
        layout=Layout.PICTURES,
        folder="",
    ),
)
PRESETS: Final = {preset.name: preset for preset in _ALL}
DEFAULT: Final = "table"
