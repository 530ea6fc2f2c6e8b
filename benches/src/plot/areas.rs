//! Areas: a panel for each overload policy, which shows what has become of all clients over time.

use std::time::Duration;

use crate::figure::format;
use crate::flood::{CLIENTS, Flood, MOST};
use crate::flood_clients::Outcome;
use crate::plot::Heading;
use crate::plot::picture::{BOTTOM, Picture, TOP, WIDTH};

/// The numbers beside the first panel.
const NUMBERS: f64 = 52.0;
const GAP: f64 = 16.0;
const PANEL_TOP: f64 = TOP + 28.0;
const PANEL: f64 = 190.0;
const BASE: f64 = PANEL_TOP + PANEL;
/// Seconds, up to four lines for each panel, and the reason of the steps.
const BELOW: f64 = 124.0;
const STEPS: &str = "Steps: the system’s queue was full, and clients tried again after a second.";
/// How many points a curve has.
const POINTS: u32 = 120;

pub fn draw(heading: &Heading, floods: &[Flood]) -> Picture {
    let mut picture = heading.picture(BASE + BELOW + BOTTOM);
    draw_legend(&mut picture);
    picture.text("soft", 0.0, BASE + BELOW, STEPS);
    for part in 0..=4 {
        let y = BASE - PANEL * f64::from(part) / 4.0;
        let number = CLIENTS as f64 * f64::from(part) / 4.0;
        picture.text("soft end", NUMBERS - 6.0, y + 4.5, format(number));
    }
    let ends = floods.iter().map(|flood| flood.time_of(MOST));
    let end = Duration::from_secs(ends.max().unwrap_or_default().as_secs() + 1);
    let width = (WIDTH - NUMBERS + GAP) / floods.len() as f64 - GAP;
    for (i, flood) in floods.iter().enumerate() {
        let panel = Panel {
            flood,
            left: NUMBERS + i as f64 * (width + GAP),
            width,
            end,
        };
        panel.draw(&mut picture);
    }
    picture
}

fn draw_legend(picture: &mut Picture) {
    for (i, name) in ["served", "waiting", "rejected"].iter().enumerate() {
        let x = NUMBERS + i as f64 * 92.0;
        picture.rectangle(name, x, TOP - 17.0, 12.0, 12.0);
        picture.text("soft", x + 18.0, TOP - 6.0, name);
    }
}

struct Panel<'a> {
    flood: &'a Flood,
    left: f64,
    width: f64,
    /// The time at the right end.
    end: Duration,
}

impl Panel<'_> {
    fn draw(&self, picture: &mut Picture) {
        picture.text("strong", self.left, PANEL_TOP - 8.0, self.flood.policy);
        picture.rectangle("waiting", self.left, PANEL_TOP, self.width, PANEL);
        let count = |outcome| move |time| self.flood.count(outcome, time) as f64;
        let rejected = count(Outcome::Rejected);
        let failed = count(Outcome::Failed);
        self.area(picture, "failed", PANEL_TOP, 1.0, |time| {
            rejected(time) + failed(time)
        });
        self.area(picture, "rejected", PANEL_TOP, 1.0, rejected);
        self.area(picture, "served", BASE, -1.0, count(Outcome::Served));
        self.draw_seconds(picture);
        self.draw_summary(picture);
    }

    /// From the edge of the panel in the direction, which is 1 for down.
    fn area(
        &self,
        picture: &mut Picture,
        class: &str,
        edge: f64,
        direction: f64,
        count: impl Fn(Duration) -> f64,
    ) {
        let mut points = vec![(self.left, edge)];
        for i in 0..=POINTS {
            let part = f64::from(i) / f64::from(POINTS);
            let y = edge + direction * PANEL * count(self.end.mul_f64(part)) / CLIENTS as f64;
            points.push((self.left + self.width * part, y));
        }
        points.push((self.left + self.width, edge));
        if points.iter().any(|(_, y)| *y != edge) {
            picture.polygon(class, &points);
        }
    }

    fn draw_seconds(&self, picture: &mut Picture) {
        let end = self.end.as_secs();
        let step = end.div_ceil(4);
        for second in (0..=end).step_by(step as usize) {
            let x = self.left + self.width * second as f64 / end as f64;
            picture.line("grid", (x, BASE), (x, BASE + 4.0));
            let (class, text) = match second {
                0 => ("soft", "0 s".to_owned()),
                _ if second == end => ("soft end", second.to_string()),
                _ => ("soft middle", second.to_string()),
            };
            picture.text(class, x, BASE + 18.0, text);
        }
    }

    fn draw_summary(&self, picture: &mut Picture) {
        let mut line = 0.0;
        let mut write = |text: String| {
            picture.text("soft", self.left, BASE + 42.0 + line, text);
            line += 18.0;
        };
        for outcome in [Outcome::Served, Outcome::Rejected, Outcome::Failed] {
            let count = self.flood.total(outcome);
            if count > 0 {
                write(format!("{} {outcome}", format(count as f64)));
            }
        }
        let end = self.flood.time_of(CLIENTS).as_secs_f64();
        write(format!("all within {end:.1} s"));
    }
}
