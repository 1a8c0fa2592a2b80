//! The report as one page for browsers: no scripts, nothing loaded from anywhere, plots inside.
//!
//! It is made from the Markdown. Text of users is escaped there already; here no HTML gets through but the fold around
//! the spec, and no link but to the web, so that a template of a user's own can add nothing else either.

use super::data::{ReportError, failed};
use super::render::sandbox;
use lyceum_components::disk;
use minijinja::context;
use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};
use std::fs;
use std::path::{Component, Path, PathBuf};

const PAGE: &str = include_str!("../../../reports/page.html.j2");

/// Makes `report.html` beside a report's Markdown file, and gives it.
pub fn write_page(report: &Path) -> Result<PathBuf, ReportError> {
    let markdown = fs::read_to_string(report).map_err(|e| failed(report)(e.to_string()))?;
    let text = page(&markdown, report.parent().unwrap_or(Path::new("")))?;
    let file = report.with_extension("html");
    disk::write_atomically(&file, text).map_err(|e| failed(&file)(e.to_string()))?;
    Ok(file)
}

/// The whole page; `folder` holds the plots that the Markdown names.
fn page(markdown: &str, folder: &Path) -> Result<String, ReportError> {
    let events: Vec<Event> =
        Parser::new_ext(markdown, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH).collect();
    let title = title(&events);
    let mut body = String::new();
    html::push_html(&mut body, safe(events, folder).into_iter());
    // Wide tables scroll by themselves, not with the page.
    let body = body
        .replace("<table>", "<div class=\"table\"><table>")
        .replace("</table>", "</table></div>");
    let rendered = sandbox().and_then(|environment| {
        let page = environment.template_from_named_str("page.html.j2", PAGE)?;
        page.render(context! { title, body => minijinja::Value::from_safe_string(body) })
    });
    rendered.map_err(|error| ReportError::Template {
        name: "page.html.j2".to_owned(),
        message: format!("{error:#}"),
    })
}

/// The text of the first heading.
fn title(events: &[Event<'_>]) -> String {
    let inside = events
        .iter()
        .skip_while(|event| !matches!(event, Event::Start(Tag::Heading { .. })))
        .take_while(|event| !matches!(event, Event::End(TagEnd::Heading(_))));
    inside
        .filter_map(|event| match event {
            Event::Text(text) | Event::Code(text) => Some(text.as_ref()),
            _ => None,
        })
        .collect()
}

fn safe<'a>(events: Vec<Event<'a>>, folder: &Path) -> Vec<Event<'a>> {
    let mut out = Vec::with_capacity(events.len());
    // Where a picture is replaced by the plot itself, its other text goes too.
    let mut in_plot = false;
    for event in events {
        match event {
            Event::Start(Tag::Image { ref dest_url, .. }) => match plot(dest_url, folder) {
                Some(svg) => {
                    in_plot = true;
                    out.push(Event::InlineHtml(
                        format!("<span class=\"plot\">{svg}</span>").into(),
                    ));
                }
                None => out.push(Event::Text("picture: ".into())),
            },
            Event::End(TagEnd::Image) => in_plot = false,
            _ if in_plot => {}
            Event::Html(text) | Event::InlineHtml(text) => out.extend(fold(text)),
            Event::Start(Tag::Link { ref dest_url, .. }) if !may_be_followed(dest_url) => {
                out.push(Event::Start(Tag::Strong));
                out.push(Event::Text(format!("{dest_url} ").into()));
            }
            Event::End(TagEnd::Link) if matches!(last_open(&out), Some(Tag::Strong)) => {
                out.push(Event::End(TagEnd::Strong));
            }
            other => out.push(other),
        }
    }
    out
}

/// The innermost element that is still open.
fn last_open<'e, 'a>(events: &'e [Event<'a>]) -> Option<&'e Tag<'a>> {
    let mut closed = 0;
    events.iter().rev().find_map(|event| match event {
        Event::End(_) => {
            closed += 1;
            None
        }
        Event::Start(tag) if closed == 0 => Some(tag),
        Event::Start(_) => {
            closed -= 1;
            None
        }
        _ => None,
    })
}

fn may_be_followed(link: &str) -> bool {
    ["https://", "http://", "#"]
        .iter()
        .any(|start| link.starts_with(start))
}

/// Lines of a fold pass; everything else is shown as text.
fn fold(text: CowStr<'_>) -> Vec<Event<'_>> {
    let passes = |line: &str| {
        let summary = line
            .strip_prefix("<summary>")
            .and_then(|rest| rest.strip_suffix("</summary>"));
        ["<details>", "</details>", ""].contains(&line)
            || summary.is_some_and(|words| !words.contains(['<', '&']))
    };
    let one = |line: &str| {
        let line: CowStr = line.to_owned().into();
        if passes(line.trim()) {
            Event::InlineHtml(line)
        } else {
            Event::Text(line)
        }
    };
    text.split_inclusive('\n').map(one).collect()
}

/// The plot that a picture of the report names.
fn plot(link: &str, folder: &Path) -> Option<String> {
    let path = Path::new(link);
    let plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    let is_svg = path.extension().is_some_and(|end| end == "svg");
    let svg = fs::read_to_string(folder.join(path))
        .ok()
        .filter(|_| plain && is_svg)?;
    // Only what a plot is made of: an SVG file of other origin may hold scripts and links.
    let drawn = [
        "svg", "text", "line", "polyline", "polygon", "path", "rect", "circle",
    ];
    let tags = svg.split('<').skip(1).map(|rest| rest.trim_start_matches('/'));
    let known = |tag: &str| {
        let name = tag
            .split(|c: char| !c.is_ascii_alphanumeric())
            .next()
            .unwrap_or_default();
        drawn.contains(&name) && !tag.split('>').next().unwrap_or_default().contains(" on")
    };
    tags.clone().all(known).then_some(svg)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(markdown: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("plots")).unwrap();
        fs::write(
            folder.path().join("plots/good.svg"),
            "<svg><text>&lt;b></text></svg>",
        )
        .unwrap();
        fs::write(
            folder.path().join("plots/bad.svg"),
            "<svg><script>alert(1)</script></svg>",
        )
        .unwrap();
        fs::write(
            folder.path().join("plots/worse.svg"),
            "<svg onload=\"alert(1)\"></svg>",
        )
        .unwrap();
        let text = page(markdown, folder.path()).unwrap();
        text.split("<main>").nth(1).unwrap().to_owned()
    }

    #[test]
    fn html_of_a_user_is_shown_and_not_obeyed() {
        for markdown in [
            "<script>alert(1)</script>",
            "a <img src=x onerror=alert(1)> b",
            "| a |\n|---|\n| <iframe src=x></iframe> |",
            "<details><script>alert(1)</script></details>",
            "<summary><script>alert(1)</script></summary>",
            "![x](plots/bad.svg)",
            "![x](plots/worse.svg)",
            "![x](https://example.org/x.svg)",
            "![x](../plots/good.svg)",
            "[a](javascript:alert(1)) [b](data:text/html,x)",
        ] {
            let html = body(markdown);
            for evil in ["<script", "<img", "<iframe", "<svg", "onload=\"", "href="] {
                assert!(!html.contains(evil), "{markdown}: {html}");
            }
        }
    }

    #[test]
    fn tables_folds_links_and_plots_pass() {
        let html = body(
            "# A & b\n\n| a |\n|---|\n| 1 |\n\n![p](plots/good.svg)\n\n<details>\n<summary>More</summary>\n\n```toml\nx = '<b>'\n```\n\n</details>\n\n[here](https://example.org)\n",
        );
        for text in [
            "<h1>A &amp; b</h1>",
            "<td>1</td>",
            "<svg><text>&lt;b></text></svg>",
            "<summary>More</summary>",
            "</details>",
            "x = '&lt;b&gt;'",
            "<a href=\"https://example.org\">here</a>",
        ] {
            assert!(html.contains(text), "{text}: {html}");
        }
    }
}
