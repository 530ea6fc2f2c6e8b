//! Ranges: a row for each server, with a dot for each percentile on a logarithmic axis.

use crate::figure::format;
use crate::plot::picture::{BOTTOM, LABELS, Picture, TOP, WIDTH};
use crate::plot::{Heading, Row};

const ROW: f64 = 26.0;
/// The columns of figures beside the axis.
const COLUMN: f64 = 62.0;
const LEFT: f64 = LABELS + 8.0;
const RIGHT: f64 = WIDTH - 2.0 * COLUMN;
/// The least distance of two numbers on the axis.
const TICK: f64 = 26.0;
/// The radius of the dot of each percentile.
const RADII: [f64; 4] = [6.0, 4.5, 3.5, 2.5];

pub const PERCENTILES: [&str; 4] = ["p50", "p90", "p99", "p99.9"];

/// A row has a value for each of the percentiles, all in the same unit.
pub fn draw(heading: &Heading, rows: &[Row]) -> Picture {
    // One more row for the numbers of the axis.
    let height = TOP + (rows.len() + 1) as f64 * ROW + BOTTOM;
    let mut picture = heading.picture(height);
    let values = || rows.iter().flat_map(|row| &row.values).flatten().copied();
    let least = values().fold(f64::INFINITY, f64::min) * 0.9;
    let most = values().fold(0.0, f64::max) * 1.1;
    let scale = |value: f64| LEFT + (value / least).log(most / least) * (RIGHT - LEFT);
    draw_legend(&mut picture);
    draw_axis(
        &mut picture,
        &scale,
        least..most,
        TOP + rows.len() as f64 * ROW,
    );
    for (i, row) in rows.iter().enumerate() {
        draw_row(&mut picture, row, TOP + i as f64 * ROW + ROW / 2.0, &scale);
    }
    picture
}

fn draw_legend(picture: &mut Picture) {
    let y = TOP - 8.0;
    for (i, name) in PERCENTILES.iter().enumerate() {
        let x = LEFT + 8.0 + i as f64 * 58.0;
        picture.circle("peer", x, y - 4.5, RADII[i]);
        picture.text("soft", x + 11.0, y, name);
    }
    picture.text("soft end", RIGHT + COLUMN, y, PERCENTILES[0]);
    picture.text("soft end", WIDTH, y, PERCENTILES[3]);
}

/// Lines at 1, 2 and 5 times each power of ten.
fn draw_axis(
    picture: &mut Picture,
    scale: &impl Fn(f64) -> f64,
    range: std::ops::Range<f64>,
    bottom: f64,
) {
    let powers = (-3..=6).map(|power| 10_f64.powi(power));
    let ticks = powers.flat_map(|power| [1.0, 2.0, 5.0].map(|digit| digit * power));
    let mut last = f64::NEG_INFINITY;
    for tick in ticks.filter(|tick| range.contains(tick)) {
        let x = scale(tick);
        picture.line("grid", (x, TOP), (x, bottom));
        if x - last >= TICK {
            picture.text("soft middle", x, bottom + 17.0, tick);
            last = x;
        }
    }
}

fn draw_row(picture: &mut Picture, row: &Row, y: f64, scale: &impl Fn(f64) -> f64) {
    picture.text(row.text_class(), 0.0, y + 5.0, row.label);
    let values: Vec<f64> = row.values.iter().flatten().copied().collect();
    let [first, .., last] = values[..] else {
        return;
    };
    picture.line(row.class, (scale(first), y), (scale(last), y));
    for (value, radius) in values.iter().zip(RADII) {
        picture.circle(row.class, scale(*value), y, radius);
    }
    let class = format!("{} end", row.text_class());
    picture.text(&class, RIGHT + COLUMN, y + 5.0, format(first));
    picture.text(&class, WIDTH, y + 5.0, format(last));
}
