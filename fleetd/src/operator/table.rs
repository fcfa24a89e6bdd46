//! Tables for people: columns as wide as they need be, nothing else.

use std::fmt::Write as _;

use fleet_core::name::is_forbidden;

/// A table: a header and rows of as many cells.
#[derive(Debug, Clone)]
pub struct Table {
    header: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(header: &[&'static str]) -> Self {
        Self { header: header.to_vec(), rows: Vec::new() }
    }

    /// Adds a row. Missing cells are blank.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        // What a miner or an agent says of itself must not move the cursor of whoever looks at it.
        let printable =
            |cell: String| cell.chars().map(|c| if is_forbidden(c) { '\u{fffd}' } else { c }).collect();
        self.rows.push(cells.into_iter().map(printable).collect());
    }

    /// The lines of the table, header first.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let cell = |row: &[String], at: usize| row.get(at).cloned().unwrap_or_default();
        let width = |at: usize, title: &str| {
            self.rows.iter().map(|row| cell(row, at).chars().count()).fold(title.chars().count(), usize::max)
        };
        let widths: Vec<_> = self.header.iter().enumerate().map(|(at, title)| width(at, title)).collect();
        let line = |cells: Vec<String>| {
            let mut line = String::new();
            for (cell, width) in cells.iter().zip(&widths) {
                let _ = write!(line, "{cell:<width$}  ");
            }
            line.trim_end().to_owned()
        };
        let header = self.header.iter().map(|title| (*title).to_owned()).collect();
        let rows = self.rows.iter().map(|row| (0..self.header.len()).map(|at| cell(row, at)).collect());
        std::iter::once(header).chain(rows).map(line).collect()
    }
}

/// A hashrate as people say it: `112.4 TH/s`.
#[must_use]
pub fn hashrate(hs: Option<f64>) -> String {
    hs.map_or_else(dash, |hs| {
        let (value, unit) = match hs {
            hs if hs >= 1e18 => (hs / 1e18, "EH/s"),
            hs if hs >= 1e15 => (hs / 1e15, "PH/s"),
            hs if hs >= 1e12 => (hs / 1e12, "TH/s"),
            hs if hs >= 1e9 => (hs / 1e9, "GH/s"),
            hs if hs >= 1e6 => (hs / 1e6, "MH/s"),
            hs => (hs, "H/s"),
        };
        format!("{value:.1} {unit}")
    })
}

/// Power as people say it: `3310 W`, and of many miners `340.0 kW`, `3.40 MW`.
#[must_use]
pub fn power(watts: Option<f64>) -> String {
    watts.map_or_else(dash, |watts| match watts {
        watts if watts >= 1e6 => format!("{:.2} MW", watts / 1e6),
        watts if watts >= 1e5 => format!("{:.1} kW", watts / 1e3),
        watts => format!("{watts:.0} W"),
    })
}

/// Temperature in °C.
#[must_use]
pub fn temperature(celsius: Option<f64>) -> String {
    celsius.map_or_else(dash, |celsius| format!("{celsius:.1} °C"))
}

/// A time span in its largest unit: `12 s`, `5 min`, `3 h`, `2 d`.
#[must_use]
pub fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

/// What stands where a miner says nothing.
#[must_use]
pub fn dash() -> String {
    "–".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_by_characters() {
        let mut table = Table::new(&["NAME", "STATUS"]);
        table.row(["süd".to_owned(), "online".to_owned()]);
        table.row(["a longer name".to_owned()]);
        assert_eq!(table.lines(), ["NAME           STATUS", "süd            online", "a longer name"]);
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        let mut table = Table::new(&["MODEL"]);
        table.row(["\u{1b}[2Jx".to_owned()]);
        assert_eq!(table.lines()[1], "\u{fffd}[2Jx");
    }

    #[test]
    fn values_have_units_and_absent_ones_a_dash() {
        assert_eq!(hashrate(Some(1.124e14)), "112.4 TH/s");
        assert_eq!(hashrate(Some(1.2e15)), "1.2 PH/s");
        assert_eq!(power(Some(3310.4)), "3310 W");
        assert_eq!((power(Some(3.4e5)), power(Some(3.4e6))), ("340.0 kW".to_owned(), "3.40 MW".to_owned()));
        assert_eq!(temperature(Some(71.25)), "71.2 °C");
        assert_eq!(hashrate(None), "–");
    }
}
