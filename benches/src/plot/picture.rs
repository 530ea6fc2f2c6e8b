//! Writes a picture as SVG, once in light and once in dark colours.

use std::fmt::{Display, Write};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;

use anyhow::{Context, Result};

pub const WIDTH: f64 = 560.0;
/// Of the servers' names.
pub const LABELS: f64 = 172.0;
/// Where the plot below the title begins.
pub const TOP: f64 = 72.0;
/// What the caption below the plot takes.
pub const BOTTOM: f64 = 30.0;

/// The colours that differ from all others also for colour-blind readers (Okabe and Ito).
struct Theme {
    name: &'static str,
    text: &'static str,
    soft: &'static str,
    grid: &'static str,
    peer: &'static str,
    blue: &'static str,
    green: &'static str,
    vermillion: &'static str,
}

const THEMES: [Theme; 2] = [
    Theme {
        name: "light",
        text: "#1f2328",
        soft: "#59636e",
        grid: "#d1d9e0",
        peer: "#99a3ad",
        blue: "#0072b2",
        green: "#009e73",
        vermillion: "#d55e00",
    },
    Theme {
        name: "dark",
        text: "#e6edf3",
        soft: "#a8b3bf",
        grid: "#3d444d",
        peer: "#7d8792",
        blue: "#56b4e9",
        green: "#2fc79a",
        vermillion: "#ff8b3d",
    },
];

pub struct Picture {
    title: String,
    height: f64,
    body: String,
}

impl Picture {
    pub fn new(height: f64, title: &str, subtitle: &str, caption: &str) -> Self {
        let mut picture = Self {
            title: title.to_owned(),
            height,
            body: String::new(),
        };
        picture.text("title", 0.0, 18.0, title);
        picture.text("soft", 0.0, 39.0, subtitle);
        picture.text("soft", 0.0, height - 6.0, caption);
        picture
    }

    /// The anchor is the left end, except with the classes `middle` and `end`.
    pub fn text(&mut self, class: &str, x: f64, y: f64, text: impl Display) {
        let text = text.to_string().replace('&', "&amp;").replace('<', "&lt;");
        self.element(format_args!(
            r#"text class="{class}" x="{x:.1}" y="{y:.1}">{text}</text"#
        ));
    }

    pub fn rectangle(&mut self, class: &str, x: f64, y: f64, width: f64, height: f64) {
        self.element(format_args!(
            r#"rect class="{class}" x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}"/"#
        ));
    }

    pub fn circle(&mut self, class: &str, x: f64, y: f64, radius: f64) {
        self.element(format_args!(
            r#"circle class="{class}" cx="{x:.1}" cy="{y:.1}" r="{radius}"/"#
        ));
    }

    pub fn line(&mut self, class: &str, from: (f64, f64), to: (f64, f64)) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.element(format_args!(
            r#"line class="{class}" x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}"/"#
        ));
    }

    pub fn polygon(&mut self, class: &str, points: &[(f64, f64)]) {
        let points: Vec<_> = points
            .iter()
            .map(|(x, y)| format!("{x:.1},{y:.1}"))
            .collect();
        let points = points.join(" ");
        self.element(format_args!(
            r#"polygon class="{class}" points="{points}"/"#
        ));
    }

    /// Writes `NAME-light.svg` and `NAME-dark.svg`.
    pub fn write(&self, folder: &Path, name: &str) -> Result<()> {
        for theme in &THEMES {
            let id = format!("{name}-{}", theme.name);
            let path = folder.join(format!("{id}.svg"));
            fs::write(&path, self.svg(&id, theme))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    fn element(&mut self, element: impl Display) {
        writeln!(self.body, "<{element}>").expect("a string takes everything");
    }

    /// The files of the themes differ up to the end of `<style>` only.
    fn svg(&self, id: &str, theme: &Theme) -> String {
        let Theme {
            text,
            soft,
            grid,
            peer,
            blue,
            green,
            vermillion,
            ..
        } = theme;
        let Picture {
            title,
            height,
            body,
        } = self;
        format!(
            r##"<svg xmlns="http://www.w3.org/2000/svg" id="{id}" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">
<!-- Made by the command in benches/README.md. -->
<style>
#{id} {{ max-width: 100%; height: auto; font: 14.5px -apple-system, BlinkMacSystemFont, "Segoe UI", "Noto Sans", Helvetica, Arial, sans-serif; }}
#{id} text {{ fill: {text}; }}
#{id} .title, #{id} .strong {{ font-weight: 600; }}
#{id} .title {{ font-size: 16px; }}
#{id} .soft {{ fill: {soft}; font-size: 13px; }}
#{id} .middle {{ text-anchor: middle; }}
#{id} .end {{ text-anchor: end; }}
#{id} .grid {{ stroke: {grid}; fill: none; }}
#{id} .peer {{ fill: {peer}; stroke: {peer}; }}
#{id} .threads, #{id} .served {{ fill: {blue}; stroke: {blue}; }}
#{id} .green {{ fill: {green}; stroke: {green}; }}
#{id} .waiting {{ fill: {grid}; }}
#{id} .rejected {{ fill: {vermillion}; }}
#{id} .failed {{ fill: {text}; }}
#{id} rect, #{id} polygon {{ stroke: none; }}
#{id} line {{ stroke-width: 1.5; }}
#{id} .grid {{ stroke-width: 1; }}
</style>
{body}</svg>
"##
        )
    }
}

/// Removes the files of a picture, if there are any.
pub fn remove(folder: &Path, name: &str) -> Result<()> {
    for theme in &THEMES {
        let path = folder.join(format!("{name}-{}.svg", theme.name));
        match fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}
