//! How cost grows with the number of jobs: lines on two logarithmic axes, as SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 460.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 230.0;
const TOP: f64 = 30.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 8] = ["#1b6ca8", "#c2401c", "#2a8a4a", "#7a4fb5", "#b8860b", "#555555", "#0f8b8d", "#b03a78"];

/// A whole number with separators.
fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} million", v / 1e6),
        v if v >= 1e3 => format!("{},000", v / 1e3),
        v => format!("{v}"),
    }
}

/// The plot; lines are named with their unit.
pub(crate) fn svg(lines: &BTreeMap<String, Vec<(f64, f64)>>) -> String {
    let all = || lines.values().flatten().filter(|(x, y)| *x > 0.0 && *y > 0.0);
    let bounds = |get: fn(&(f64, f64)) -> f64| {
        let logs = all().map(|p| get(p).log10());
        let (low, high) = logs.fold((f64::MAX, f64::MIN), |(l, h), v| (l.min(v), h.max(v)));
        (low.floor(), high.ceil().max(low.floor() + 1.0))
    };
    let ((x0, x1), (y0, y1)) = (bounds(|p| p.0), bounds(|p| p.1));
    let x = |v: f64| LEFT + (v.log10() - x0) / (x1 - x0) * (WIDTH - LEFT - RIGHT);
    let y = |v: f64| HEIGHT - BOTTOM - (v.log10() - y0) / (y1 - y0) * (HEIGHT - TOP - BOTTOM);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut draw = |text: std::fmt::Arguments<'_>| {
        // Writing to a string does not fail.
        let _ = out.write_fmt(text);
    };
    let powers = |from: f64, to: f64| (from as i32..=to as i32).map(|p| 10_f64.powi(p));
    let (right, bottom) = (WIDTH - RIGHT, HEIGHT - BOTTOM);
    for v in powers(x0, x1) {
        let at = x(v);
        draw(format_args!("<path d=\"M{at:.1} {TOP}V{bottom}\" stroke=\"#dddddd\"/>\n"));
        draw(format_args!("<text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", bottom + 18.0, number(v)));
    }
    for v in powers(y0, y1) {
        let at = y(v);
        draw(format_args!("<path d=\"M{LEFT} {at:.1}H{right}\" stroke=\"#dddddd\"/>\n"));
        draw(format_args!(
            "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
            LEFT - 8.0,
            at + 4.0,
            number(v)
        ));
    }
    draw(format_args!(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">jobs</text>\n",
        f64::midpoint(LEFT, right),
        HEIGHT - 12.0
    ));
    draw(format_args!("<text x=\"{LEFT}\" y=\"18\">milliseconds, or MiB where the line says so</text>\n"));
    for (n, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let mut points: Vec<_> = points.iter().copied().filter(|(a, b)| *a > 0.0 && *b > 0.0).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        let path: Vec<String> = points.iter().map(|(a, b)| format!("{:.1} {:.1}", x(*a), y(*b))).collect();
        draw(format_args!("<path d=\"M{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n", path.join("L")));
        for (a, b) in &points {
            draw(format_args!("<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"3\" fill=\"{colour}\"/>\n", x(*a), y(*b)));
        }
        let at = TOP + 14.0 + 20.0 * n as f64;
        draw(format_args!("<path d=\"M{} {}h18\" stroke=\"{colour}\" stroke-width=\"3\"/>\n", right + 14.0, at - 4.0));
        draw(format_args!("<text x=\"{}\" y=\"{at}\">{name}</text>\n", right + 38.0));
    }
    out.push_str("</svg>\n");
    out
}
