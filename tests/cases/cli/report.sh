#!/bin/sh
# rrm report: one valid page of HTML, without anything from elsewhere, in which names are text whatever they
# are; shown by a real browser.
# needs: root
# timeout: 180
. "${0%/*}/../lib.sh"

make_repo web
git_repo api
check rrm add --name '<script>evil()<x'"'\"&amp;" "$R/api" >/dev/null
git_repo bytes
check rrm add --name "$(printf 'not\377utf8')" "$R/bytes" >/dev/null
# a page about nothing is a page, too
check rrm report -o "$T/empty.html"
grep -q 'No sample of memory' "$T/empty.html" || die 'nothing is said about no sample'

# what a gateway and a mount would have written; a damaged line among it
fill() {
	python3 - "$S" <<'END'
import datetime, glob, json, math, sys, time
now = time.time()
dirs = sorted(glob.glob(sys.argv[1] + '/repos/*/'))
ids = [json.load(open(d + 'repo.json'))['repo_id'] for d in dirs]
def iso(t):
    return datetime.datetime.fromtimestamp(t, datetime.timezone.utc).strftime('%Y-%m-%dT%H:%M:%S.000Z')
for i, d in enumerate(dirs):
    with open(d + 'memory.jsonl', 'w') as f:
        f.write('no sample\n')
        for k in range(300):
            f.write(json.dumps({'ts': iso(now - 7200 + k * 24), 'pid': 7, 'processes': 2, 'rss_kib': 1,
                                'pss_kib': int(300000 + 100000 * math.sin(k / 40 + i)), 'swap_kib': 0}) + '\n')
    with open(d + 'audit.jsonl', 'w') as f:
        for k in range(1, 41):
            bad = k % 10 == 0
            f.write(json.dumps({'seq': k, 'ts': iso(now - 4000 + k), 'op': 'write', 'path': '<img src=x onerror=y>',
                                'writes': 2, 'bytes': 3, 'result': 'refused' if bad else 'ok',
                                'message': '</td><script src="//x">' if bad else None, 'wait_us': 1000 * k,
                                'actor': {'pid': 7, 'comm': '<b>sh', 'home': ids[(i + k) % len(ids)] if k % 7 else None,
                                          'session': None}, 'prev': '0' * 64}) + '\n')
            if k == 20:
                f.write('{"damaged\n')
END
}
fill
rrm report -o "$T/report.html" 2>"$T/x/err" || die "rrm report: $(cat "$T/x/err")"
grep -q 'line at byte' "$T/x/err" || die 'the damaged line was not said'
rrm report >"$T/stdout.html" 2>/dev/null
[ "$(stat -c %a "$T/report.html")" = 600 ] || die 'others may read the page'
python3 - "$T/report.html" "$T/stdout.html" "$T/empty.html" <<'END'
import sys
from html.parser import HTMLParser
void = {'meta', 'br'}
known = {'html', 'head', 'meta', 'title', 'style', 'body', 'main', 'h1', 'h2', 'p', 'div', 'b', 'section', 'svg',
         'line', 'text', 'path', 'rect', 'table', 'thead', 'tbody', 'tr', 'th', 'td', 'span', 'code'}
class Check(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.text, self.counts = [], '', {}
    def handle_starttag(self, tag, attrs):
        assert tag in known, f'<{tag}> at {self.getpos()}'
        names = [a for a, _ in attrs]
        assert len(names) == len(set(names)), f'twice the same attribute in <{tag}>'
        for name, value in attrs:
            assert not name.startswith('on') and name not in ('src', 'href'), (tag, name)
            assert 'url(' not in (value or ''), (tag, value)
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in void:
            self.open.append(tag)
    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()
    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f'</{tag}> at {self.getpos()}'
    def handle_data(self, data):
        self.text += data
for page in sys.argv[1:]:
    c = Check()
    c.feed(open(page, encoding='utf-8', errors='strict').read())
    c.close()
    assert not c.open, c.open
    assert '<script>evil()<x\'"&amp;' in c.text
    assert 'not\ufffdutf8' in c.text
    if 'empty' not in page:
        assert '<img src=x onerror=y>' in c.text and '</td><script src="//x">' in c.text
        # a line and an area a repository; the cells of the matrix: 4 homes, 3 repositories
        assert c.counts['path'] == 6 and c.counts['rect'] == 3 + 12, c.counts
END

# a browser: no script ran, the elements are there, and the picture is not empty
browse() {
	HOME=$T/h timeout -k 5 60 chromium --headless --no-sandbox --disable-gpu --disable-dev-shm-usage \
		--user-data-dir="$T/chromium" --window-size=1000,1600 "$@" "file://$T/report.html" 2>>"$T/x/chromium"
}
browse --dump-dom >"$T/dom" || die "chromium: $(tail -3 "$T/x/chromium")"
grep -q '<svg viewBox="0 0 960' "$T/dom" || die 'the browser did not find the figure'
eq "$(grep -c '<script' "$T/dom")" 0 'scripts in what the browser made of it'
browse --screenshot="$T/shot.png" >/dev/null || die "chromium: $(tail -3 "$T/x/chromium")"
[ "$(stat -c %s "$T/shot.png")" -gt 30000 ] || die 'the picture is empty'

# the last sample is older, and less, than now
RRM_BACKEND=embedded check rrm ensure web >/dev/null
echo "{\"ts\":\"$(date -u +%FT%T.000Z)\",\"pid\":7,\"processes\":1,\"rss_kib\":1,\"pss_kib\":1,\"swap_kib\":0}" \
	>"$(state_dir web)/memory.jsonl"
rrm report 2>/dev/null | sed -n 's|^<tr><td><b>web</b>.*<td class="n">\(.*\)</td><td class="n">\([^<]*\)</td>.*|\1 \2|p' >"$T/x/memory"
read -r now most <"$T/x/memory"
eq "$most" "$now" 'the most of a backend that never had more than now'

eq "$(status_of rrm report --since tomorrow)" 2 'a bad time'
eq "$(status_of rrm report web)" 2 'with an argument'
fails_with 'writing /dev/full/x' rrm report -o /dev/full/x
