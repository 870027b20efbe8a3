"""The style sheet of a report: light or dark as the reader prefers, light on paper."""

STYLE = """
:root { --ink: #1e2233; --soft: #5b6275; --line: #d9dde8; --paper: #fff; --card: #f7f8fc;
  --c0: #4f46e5; --c1: #d97706; --c2: #0d9488; --c3: #db2777; --grey: #d5d9e6; }
@media screen and (prefers-color-scheme: dark) { :root { --ink: #e6e8f2; --soft: #9aa2b8; --line: #333a52;
  --paper: #11141f; --card: #191d2c; --c0: #818cf8; --c1: #fbbf24; --c2: #2dd4bf; --c3: #f472b6; --grey: #39415c; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", sans-serif; }
main { max-width: 980px; margin: 0 auto; padding: 32px 20px 64px; }
h1 { font-size: 28px; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 19px; margin: 40px 0 8px; padding-top: 12px; border-top: 1px solid var(--line); }
h3 { font-size: 15px; margin: 20px 0 4px; overflow-wrap: anywhere; }
p { margin: 6px 0; } .soft { color: var(--soft); overflow-wrap: anywhere; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 18px 0; }
.tile { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 12px 14px; }
.tile b { display: block; font-size: 22px; font-weight: 600; } .tile span { color: var(--soft); font-size: 13px; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
th, td { text-align: right; padding: 5px 10px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th { color: var(--soft); font-weight: 500; } td small { color: var(--soft); }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; min-width: 140px; }
tr.this td { font-weight: 600; }
table.settings { width: auto; } table.settings td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
table.heat td:not(:first-child), table.heat th:not(:first-child) { text-align: center; }
table.heat td { padding: 4px 6px; font-size: 12px; }
svg { display: block; width: 100%; height: auto; } svg text { fill: var(--soft); font-size: 12px; }
.grid { stroke: var(--line); } .mark { stroke: var(--ink); stroke-dasharray: 5 4; }
.line { fill: none; stroke-width: 2; stroke: currentColor; } .dot { fill: currentColor; }
.bar { fill: currentColor; opacity: .6; } .band { fill: var(--c0); opacity: .2; }
.before { fill: var(--grey); } .after { fill: var(--c0); }
.s0 { color: var(--c0); } .s1 { color: var(--c1); } .s2 { color: var(--c2); } .s3 { color: var(--c3); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; color: var(--soft); font-size: 13px; }
.legend i { display: inline-block; width: 14px; height: 10px; margin-right: 6px; background: currentColor; }
.shots { display: grid; grid-template-columns: repeat(auto-fill, minmax(260px, 1fr)); gap: 14px; }
figure { margin: 0; } figure img { width: 100%; border-radius: 8px; display: block; }
figcaption { color: var(--soft); font-size: 13px; overflow-wrap: anywhere; }
details summary { cursor: pointer; color: var(--soft); margin: 8px 0; }
@media print { details > * { display: block; } h2 { break-after: avoid; } figure, svg, tr { break-inside: avoid; } }
"""
