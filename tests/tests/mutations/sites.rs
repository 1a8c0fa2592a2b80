//! Where an experiment can be made wrong, found by walking its text along the schemas.

use crate::forms::{Form, allows, constants, wrong_numbers};
use lyceum_components::{COMPONENTS, find};
use serde_json::Value;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A place in the text and what can be done to it.
#[derive(Debug)]
pub(crate) struct Site {
    /// The piece that is replaced.
    pub(crate) at: Range<usize>,
    /// Where the mistake must be told, as a byte of the text.
    pub(crate) told: usize,
    pub(crate) kind: Kind,
}

/// What can be made wrong.
#[derive(Debug)]
pub(crate) enum Kind {
    /// A name, and those that may stand in its place.
    Name { valid: Vec<String> },
    /// A value, and texts of values that may not stand in its place.
    Value { wrong: Vec<String> },
    /// A key that must be there, cut out with its value.
    Required { key: String },
}

/// Sections of an experiment.
const SECTIONS: [&str; 8] = [
    "experiment",
    "runtime",
    "steps",
    "claims",
    "sweep",
    "report",
    "profiles",
    "extends",
];
/// What a step has besides its component's keys.
const STEP_KEYS: [&str; 6] = ["use", "matrix", "seed", "when", "shards", "precision"];

/// Every place of an experiment's text.
pub(crate) fn sites(text: &str) -> Vec<Site> {
    let table = DeTable::parse(text).expect("a shipped spec");
    let whole = lyceum::spec::experiment_schema(COMPONENTS);
    let mut walk = Walk {
        text,
        whole: &whole,
        base: table.get_ref(),
        sites: Vec::new(),
    };
    walk.headers();
    walk.experiment(table.get_ref(), true);
    walk.sites
}

struct Walk<'a> {
    text: &'a str,
    whole: &'a Value,
    /// The experiment itself: what a profile's steps use is said there.
    base: &'a DeTable<'a>,
    sites: Vec<Site>,
}

impl Walk<'_> {
    /// `[section.…]`, line by line: the parser tells only of the first.
    fn headers(&mut self) {
        let lines: Vec<&str> = self.text.split_inclusive('\n').collect();
        let mut start = 0;
        for line in &lines {
            let brackets = line.chars().take_while(|c| *c == '[').count();
            let name: &str = line[brackets..].split([']', '.']).next().unwrap_or_default();
            if brackets > 0 && SECTIONS.contains(&name) {
                let at = start + brackets..start + brackets + name.len();
                self.name(at, &SECTIONS);
                let whole = line[brackets..].split(']').next().unwrap_or_default();
                let inner = |other: &&&str| other.trim_start_matches('[').starts_with(&format!("{whole}."));
                if brackets == 1 && lines.iter().find(inner).is_none() {
                    let wrong = vec![format!("[[{whole}]]")];
                    let at = start..start + whole.len() + 2;
                    self.push(at, start, Kind::Value { wrong });
                }
            }
            start += line.len();
        }
    }

    fn experiment(&mut self, table: &DeTable<'_>, whole: bool) {
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if !self.line(key.span().start).starts_with('[') {
                self.name(key.span(), &SECTIONS);
            }
            let schema = &self.whole["properties"][name];
            match (name, value.get_ref()) {
                ("steps", DeValue::Table(steps)) => {
                    for (step, value) in steps {
                        if let DeValue::Table(table) = value.get_ref() {
                            self.step(step, table, whole);
                        }
                    }
                }
                ("claims", DeValue::Array(claims)) => {
                    for claim in claims {
                        let form = Form::new(&schema["items"]);
                        if let DeValue::Table(table) = claim.get_ref() {
                            self.table(&[form], table, claim.span().start, &[], whole);
                        }
                    }
                }
                ("profiles", DeValue::Table(profiles)) => {
                    for (_, profile) in profiles {
                        if let DeValue::Table(table) = profile.get_ref() {
                            self.experiment(table, false);
                        }
                    }
                }
                (_, DeValue::Table(table)) => {
                    self.table(&[Form::new(schema)], table, key.span().start, &[], whole);
                }
                _ => self.value(&[Form::new(schema)], value, whole),
            }
        }
    }

    fn step(&mut self, name: &Spanned<toml::de::DeString<'_>>, table: &DeTable<'_>, whole: bool) {
        let used = |table: &DeTable<'_>| table.get("use")?.get_ref().as_str().map(str::to_owned);
        let in_base = || match self
            .base
            .get("steps")?
            .get_ref()
            .get(name.get_ref().as_ref())?
            .get_ref()
        {
            DeValue::Table(table) => used(table),
            _ => None,
        };
        let used = used(table).or_else(in_base).expect("a step uses a component");
        let component = find(&used).expect("a component of ours");
        let mut schema = (component.schema)();
        lyceum::spec::simplify(&mut schema);
        let own = &self.whole["$defs"][component.name]["properties"];
        let told = name.span().start;
        let form = Form::new(&schema);
        self.table(&[form], table, told, &STEP_KEYS, whole);
        for (key, value) in table {
            let key_name = key.get_ref().as_ref();
            if !STEP_KEYS.contains(&key_name) {
                continue;
            }
            let mut valid = form.keys();
            valid.extend(STEP_KEYS);
            self.name(key.span(), &valid);
            match key_name {
                "use" => {
                    let names: Vec<&str> = COMPONENTS.iter().map(|component| component.name).collect();
                    self.name(inside(value.span()), &names);
                    self.wrong(value, &[Form::new(&own["when"])]);
                    if whole {
                        self.required(key, value, told);
                    }
                }
                "matrix" => {
                    let DeValue::Table(axes) = value.get_ref() else {
                        continue;
                    };
                    for (axis, points) in axes {
                        self.axis(form, axis, points, whole.then_some(told));
                    }
                }
                _ => self.value(&[Form::new(&own[key_name])], value, whole),
            }
        }
    }

    /// One axis of a matrix: a key of the component, and values for it by name or in a list.
    fn axis(
        &mut self,
        form: Form<'_>,
        axis: &Spanned<toml::de::DeString<'_>>,
        points: &Spanned<DeValue<'_>>,
        told: Option<usize>,
    ) {
        let path = axis.get_ref().as_ref();
        let (outer, last) = path
            .rsplit_once('.')
            .map_or((None, path), |(outer, last)| (Some(outer), last));
        let mut forms = vec![form];
        for part in outer.into_iter().flat_map(|outer| outer.split('.')) {
            forms = forms.iter().flat_map(|form| form.property(part)).collect();
        }
        let quoted = usize::from(self.text[axis.span()].starts_with(['"', '\'']));
        let end = axis.span().end - quoted;
        let valid: Vec<&str> = forms.iter().flat_map(Form::keys).collect();
        self.name(end - last.len()..end, &valid);
        if let (Some(told), None) = (told, outer)
            && form.required().contains(&last)
        {
            self.required(axis, points, told);
        }
        let inner: Vec<Form<'_>> = forms.iter().flat_map(|form| form.property(last)).collect();
        match points.get_ref() {
            DeValue::Table(points) => points
                .iter()
                .for_each(|(_, value)| self.value(&inner, value, told.is_some())),
            DeValue::Array(points) => points
                .iter()
                .for_each(|value| self.value(&inner, value, told.is_some())),
            _ => {}
        }
    }

    /// The keys that one of the forms knows. `besides` are handled elsewhere.
    fn table(&mut self, forms: &[Form<'_>], table: &DeTable<'_>, told: usize, besides: &[&str], whole: bool) {
        let mut valid: Vec<&str> = forms.iter().flat_map(Form::keys).collect();
        valid.extend(besides);
        for (key, value) in table {
            let name = key.get_ref().as_ref();
            if besides.contains(&name) {
                continue;
            }
            let inner: Vec<Form<'_>> = forms.iter().flat_map(|form| form.property(name)).collect();
            if inner.is_empty() {
                let rest: Vec<Form<'_>> = forms.iter().flat_map(Form::rest).collect();
                self.value(&rest, value, whole);
                continue;
            }
            self.name(key.span(), &valid);
            match value.get_ref() {
                DeValue::Table(table) if !self.text[value.span()].starts_with('{') => {
                    self.table(&inner, table, key.span().start, &[], whole);
                }
                _ => self.value(&inner, value, whole),
            }
            if whole && forms.iter().all(|form| form.required().contains(&name)) {
                self.required(key, value, told);
            }
        }
    }

    fn value(&mut self, forms: &[Form<'_>], value: &Spanned<DeValue<'_>>, whole: bool) {
        if forms.is_empty() {
            return;
        }
        self.wrong(value, forms);
        match value.get_ref() {
            DeValue::String(_) => {
                if let Some(valid) = constants(forms) {
                    self.name(inside(value.span()), &valid);
                }
            }
            DeValue::Array(values) => {
                let items: Vec<Form<'_>> = forms.iter().flat_map(Form::items).collect();
                values.iter().for_each(|value| self.value(&items, value, whole));
            }
            DeValue::Table(table) => self.table(forms, table, value.span().start, &[], whole),
            _ => {}
        }
    }

    fn wrong(&mut self, value: &Spanned<DeValue<'_>>, forms: &[Form<'_>]) {
        let types = [
            ("string", "\"words\""),
            ("integer", "17"),
            ("number", "1.5"),
            ("boolean", "true"),
            ("array", "[[]]"),
            ("object", "{}"),
        ];
        let wrong = types.iter().filter(|(kind, _)| !allows(forms, kind));
        let mut wrong: Vec<String> = wrong.map(|(_, text)| (*text).to_owned()).collect();
        wrong.extend(wrong_numbers(forms));
        let (span, told) = (value.span(), value.span().start);
        self.push(span, told, Kind::Value { wrong });
    }

    fn name(&mut self, at: Range<usize>, valid: &[&str]) {
        let valid = valid.iter().map(|&name| name.to_owned()).collect();
        let told = at.start;
        self.push(at, told, Kind::Name { valid });
    }

    fn required(&mut self, key: &Spanned<toml::de::DeString<'_>>, value: &Spanned<DeValue<'_>>, told: usize) {
        let (mut start, mut end) = (key.span().start, value.span().end);
        if self.line(start).starts_with('[') {
            return; // its own table: what is in it is cut out key by key
        }
        let before = self.text[..start].trim_end_matches(' ');
        let after = self.text[end..].trim_start_matches(' ');
        if before.ends_with('.') {
            start = self.text[..start].rfind('\n').map_or(0, |at| at + 1);
        } else if after.starts_with(',') {
            end = self.text.len() - after.len() + 1;
        } else if before.ends_with(',') {
            start = before.len() - 1;
        }
        let key = key.get_ref().as_ref().to_owned();
        self.push(start..end, told, Kind::Required { key });
    }

    fn push(&mut self, at: Range<usize>, told: usize, kind: Kind) {
        self.sites.push(Site { at, told, kind });
    }

    fn line(&self, at: usize) -> &str {
        let start = self.text[..at].rfind('\n').map_or(0, |at| at + 1);
        &self.text[start..]
    }
}

/// What stands between the quotation marks.
fn inside(span: Range<usize>) -> Range<usize> {
    span.start + 1..span.end - 1
}
