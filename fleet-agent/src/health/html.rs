//! The page for people: one table, no script, everything escaped.

use std::fmt::{self, Write as _};

use super::{HealthReport, MinerHealth, SpoolHealth};

const STYLE: &str = "\
:root{color-scheme:light dark;--line:color-mix(in srgb,currentColor 18%,transparent);\
--quiet:color-mix(in srgb,currentColor 65%,transparent)}\
body{font:15px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.3rem;margin:0}h2{font-size:1rem;margin:2rem 0 .5rem}\
p.sub{color:var(--quiet);margin:.1rem 0 1.2rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1.2rem;margin:0}\
dt{color:var(--quiet)}dd{margin:0;overflow-wrap:anywhere}\
div.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .9rem .35rem 0;border-bottom:1px solid var(--line);vertical-align:top}\
th{font-weight:600;font-size:.85rem}.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}\
code{font:inherit;font-family:ui-monospace,monospace;font-size:.93em}\
small{color:var(--quiet);display:block}strong{font-weight:600}";

/// The page.
pub(super) fn page(report: &HealthReport) -> String {
    let mut page = String::with_capacity(8 * 1024);
    // Writing to a string cannot fail.
    write_page(&mut page, report).map_or_else(|_| String::new(), |()| page)
}

fn write_page(out: &mut String, report: &HealthReport) -> fmt::Result {
    let agent = Escaped(&report.agent);
    write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <meta http-equiv=\"refresh\" content=\"10\"><title>{agent} \u{b7} fleet agent</title>\
         <style>{STYLE}</style></head><body><main><h1>{agent}</h1><p class=\"sub\">"
    )?;
    match &report.organization {
        Some(name) => write!(out, "Agent of {}", Escaped(name))?,
        None => out.push_str("Not enrolled"),
    }
    write!(out, ", version {}</p><dl>", Escaped(report.version))?;
    let session = match (report.online, &report.problem) {
        (true, _) => "<strong>online</strong>".to_owned(),
        (false, None) => "<strong>connecting</strong>".to_owned(),
        (false, Some(problem)) => format!("<strong>offline</strong>: {}", Escaped(problem)),
    };
    let heartbeat =
        report.last_heartbeat_age_s.map_or_else(|| "none yet".to_owned(), |age| format!("{} ago", Age(age)));
    let control = if report.control_stream_open { "open" } else { "closed" };
    for (name, value) in [
        ("Session", session),
        ("Server", format!("<code>{}</code>", Escaped(&report.server))),
        ("Control stream", control.to_owned()),
        ("Last heartbeat", heartbeat),
        ("Fingerprint", format!("<code>{}</code>", Escaped(&report.fingerprint))),
        ("Waiting readings", spool(&report.telemetry)),
        ("Waiting events", spool(&report.events)),
        ("Last scan", scan(report)),
    ] {
        write!(out, "<dt>{name}</dt><dd>{value}</dd>")?;
    }
    write!(out, "</dl><h2>Miners ({})</h2>", report.miners.len())?;
    if report.miners.is_empty() {
        out.push_str("<p>No miner was found yet.</p>");
    } else {
        out.push_str(
            "<div class=\"wide\"><table><thead><tr><th>Miner</th><th>Address</th><th>Make and model</th><th>Status</th>\
             <th class=\"n\">TH/s</th><th class=\"n\">W</th><th class=\"n\">\u{b0}C</th><th class=\"n\">Age</th></tr></thead><tbody>",
        );
        for miner in &report.miners {
            write_miner(out, miner)?;
        }
        out.push_str("</tbody></table></div>");
    }
    if !report.locked.is_empty() {
        write!(out, "<h2>Miners that need a password ({})</h2><ul>", report.locked.len())?;
        for locked in &report.locked {
            let refused = if locked.refused { "; the stored password was refused" } else { "" };
            write!(
                out,
                "<li><code>{}</code> {}{refused}: <code>fleet-agent miner login ADDRESS</code></li>",
                Escaped(&locked.address),
                Escaped(&locked.make)
            )?;
        }
        out.push_str("</ul>");
    }
    out.push_str("</main></body></html>\n");
    Ok(())
}

fn write_miner(out: &mut String, miner: &MinerHealth) -> fmt::Result {
    write!(
        out,
        "<tr><td><code>{}</code></td><td><code>{}</code></td><td>{} {}<small>{}</small></td><td>{}",
        Escaped(&miner.endpoint),
        Escaped(&miner.address),
        Escaped(&miner.make),
        Escaped(&miner.model),
        Escaped(&miner.firmware),
        Escaped(miner.status),
    )?;
    if let Some(problem) = &miner.problem {
        write!(out, "<small>{}</small>", Escaped(problem))?;
    }
    out.push_str("</td>");
    let age = miner.reading_age_s.map(|age| Age(age).to_string());
    let cells = [
        miner.hashrate_ths.map(|value| format!("{value:.1}")),
        miner.power_w.map(|value| format!("{value:.0}")),
        miner.temperature_c.map(|value| format!("{value:.1}")),
        age,
    ];
    for cell in cells {
        write!(out, "<td class=\"n\">{}</td>", cell.as_deref().unwrap_or("\u{2013}"))?;
    }
    out.push_str("</tr>");
    Ok(())
}

fn spool(spool: &SpoolHealth) -> String {
    let mut text = format!("{}, {} delivered", spool.waiting, spool.delivered);
    for (count, what) in [(spool.dropped, "dropped"), (spool.refused, "refused")] {
        if count > 0 {
            text.push_str(&format!(", <strong>{count} {what}</strong>"));
        }
    }
    text
}

fn scan(report: &HealthReport) -> String {
    if report.scans_completed == 0 {
        return "none yet".to_owned();
    }
    format!("{} addresses in {:.1} s", report.last_scan_addresses, report.last_scan_duration_s)
}

/// Seconds as people say them.
struct Age(u64);

impl fmt::Display for Age {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            seconds @ 0..120 => write!(f, "{seconds} s"),
            seconds @ 120..7_200 => write!(f, "{} min", seconds / 60),
            seconds => write!(f, "{} h", seconds / 3_600),
        }
    }
}

/// Text that stands for itself in HTML, between tags and in quoted attributes.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::LockedHealth;
    use super::*;

    pub(in super::super) fn hostile() -> HealthReport {
        let text = "<script>alert('\"x\"')</script>".to_owned();
        let spool = || SpoolHealth { waiting: 3, delivered: 2, dropped: 1, refused: 0 };
        HealthReport {
            agent: text.clone(),
            version: "1.2.3",
            organization: Some(text.clone()),
            agent_id: Some(5),
            fingerprint: text.clone(),
            server: text.clone(),
            online: false,
            problem: Some(text.clone()),
            control_stream_open: false,
            last_heartbeat_age_s: Some(300),
            telemetry: spool(),
            events: spool(),
            scans_completed: 1,
            last_scan_duration_s: 0.5,
            last_scan_addresses: 254,
            dropped_samples: 0,
            miners: vec![MinerHealth {
                endpoint: text.clone(),
                address: text.clone(),
                make: text.clone(),
                model: text.clone(),
                firmware: text.clone(),
                status: "mining",
                problem: Some(text.clone()),
                hashrate_ths: Some(101.25),
                power_w: Some(3_250.4),
                temperature_c: None,
                reading_age_s: Some(4),
            }],
            locked: vec![LockedHealth { address: text.clone(), make: text, refused: true }],
        }
    }

    #[test]
    fn what_a_miner_or_a_server_says_cannot_become_markup() {
        let page = page(&hostile());
        assert!(!page.contains("<script") && !page.contains("alert('"));
        assert_eq!(page.matches("&lt;script&gt;alert(&#39;&quot;x&quot;&#39;)").count(), 14);
    }

    #[test]
    fn values_have_units_and_what_is_unknown_is_no_zero() {
        let page = page(&hostile());
        for part in ["101.2", "3250", ">\u{2013}<", "5 min ago", "254 addresses in 0.5 s", "1 dropped"] {
            assert!(page.contains(part), "{part} in {page}");
        }
    }
}
