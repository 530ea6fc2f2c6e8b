//! Bars: a row for each server, and a column for each load, which has a scale of its own.

use crate::figure::format;
use crate::plot::picture::{BOTTOM, LABELS, Picture, TOP, WIDTH};
use crate::plot::{Heading, Row};

const ROW: f64 = 31.0;
const BAR: f64 = 7.0;
/// Between two columns.
const GAP: f64 = 14.0;

/// A row has a value for each of the columns.
pub fn draw(heading: &Heading, columns: &[String], rows: &[Row]) -> Picture {
    let height = TOP + rows.len() as f64 * ROW + BOTTOM;
    let mut picture = heading.picture(height);
    let width = (WIDTH - LABELS) / columns.len() as f64;
    for (j, title) in columns.iter().enumerate() {
        let x = LABELS + j as f64 * width;
        picture.text("soft", x, TOP - 4.0, title);
        let longest = rows
            .iter()
            .filter_map(|row| row.values[j])
            .fold(0.0, f64::max);
        for (i, row) in rows.iter().enumerate() {
            let y = TOP + i as f64 * ROW;
            let Some(value) = row.values[j] else {
                continue;
            };
            picture.text(row.text_class(), x, y + 16.0, format(value));
            let length = (width - GAP) * value / longest;
            picture.rectangle(row.class, x, y + 20.0, length, BAR);
        }
    }
    for (i, row) in rows.iter().enumerate() {
        let y = TOP + i as f64 * ROW + 22.0;
        picture.text(row.text_class(), 0.0, y, row.label);
    }
    picture
}
