//! JSON Schema, as much of it as the schemas of components and sections use.

use serde_json::Value;

/// One form that a value may take: a schema and the root that its references lead into.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form<'a> {
    root: &'a Value,
    schema: &'a Value,
}

impl<'a> Form<'a> {
    pub(crate) fn new(root: &'a Value) -> Self {
        Self { root, schema: root }
    }

    /// The forms that a schema inside this one stands for.
    fn inner(&self, schema: &'a Value) -> Vec<Self> {
        let form = Self {
            root: self.root,
            schema,
        };
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = self.root.pointer(target.trim_start_matches('#'));
            return self.inner(target.expect("a reference leads somewhere"));
        }
        let branches = ["anyOf", "oneOf"]
            .into_iter()
            .filter_map(|keyword| schema.get(keyword)?.as_array());
        let branches: Vec<Self> = branches.flatten().flat_map(|branch| self.inner(branch)).collect();
        if branches.is_empty() { vec![form] } else { branches }
    }

    pub(crate) fn keys(&self) -> Vec<&'a str> {
        let keys = self.schema.get("properties").and_then(Value::as_object);
        keys.into_iter().flatten().map(|(key, _)| key.as_str()).collect()
    }

    pub(crate) fn property(&self, key: &str) -> Vec<Self> {
        let property = self.schema.get("properties").and_then(|all| all.get(key));
        property.map(|schema| self.inner(schema)).unwrap_or_default()
    }

    /// Forms of the values of keys that users name.
    pub(crate) fn rest(&self) -> Vec<Self> {
        let rest = self
            .schema
            .get("additionalProperties")
            .filter(|rest| rest.is_object());
        rest.map(|schema| self.inner(schema)).unwrap_or_default()
    }

    pub(crate) fn items(&self) -> Vec<Self> {
        let items = self.schema.get("items");
        items.map(|schema| self.inner(schema)).unwrap_or_default()
    }

    pub(crate) fn required(&self) -> Vec<&'a str> {
        let keys = self.schema.get("required").and_then(Value::as_array);
        keys.into_iter().flatten().filter_map(Value::as_str).collect()
    }

    fn constants(&self) -> Option<Vec<&'a str>> {
        match (self.schema.get("const"), self.schema.get("enum")) {
            (Some(value), _) => Some(value.as_str().into_iter().collect()),
            (None, Some(values)) => Some(values.as_array()?.iter().filter_map(Value::as_str).collect()),
            (None, None) => None,
        }
    }

    fn allows(&self, kind: &str) -> bool {
        let fits = |name: &str| name == kind || (name == "number" && kind == "integer");
        match self.schema.get("type") {
            Some(Value::String(name)) => fits(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(fits),
            _ if self.constants().is_some() => kind == "string",
            _ => !self.schema.is_object() || self.schema.get("properties").is_none() || kind == "object",
        }
    }

    fn number(&self, keyword: &str) -> Option<f64> {
        self.schema.get(keyword)?.as_f64()
    }
}

/// Whether a value of this type fits one of the forms.
pub(crate) fn allows(forms: &[Form<'_>], kind: &str) -> bool {
    forms.iter().any(|form| form.allows(kind))
}

/// The strings that may stand here, if not any may.
pub(crate) fn constants<'a>(forms: &[Form<'a>]) -> Option<Vec<&'a str>> {
    let strings = forms.iter().filter(|form| form.allows("string"));
    let all: Option<Vec<Vec<&str>>> = strings.map(Form::constants).collect();
    all.map(|all| all.concat()).filter(|all| !all.is_empty())
}

/// Numbers outside the bounds, where there is one form that takes numbers; lists and texts that are too short.
pub(crate) fn wrong_numbers(forms: &[Form<'_>]) -> Vec<String> {
    let numeric: Vec<_> = forms.iter().filter(|form| form.allows("integer")).collect();
    let mut wrong = Vec::new();
    if let [form] = numeric[..]
        && (form.schema.get("type").is_some())
    {
        let whole = !form.allows("number");
        let show = |number: f64| {
            if whole {
                format!("{number}")
            } else {
                format!("{number:?}")
            }
        };
        let step = if whole { 1.0 } else { 0.25 };
        wrong.extend(form.number("minimum").map(|least| show(least - step)));
        wrong.extend(form.number("exclusiveMinimum").map(show));
        wrong.extend(form.number("exclusiveMinimum").map(|least| show(least - step)));
        wrong.extend(
            form.number("maximum")
                .filter(|most| *most < 1e15)
                .map(|most| show(most + step)),
        );
        wrong.extend(form.number("exclusiveMaximum").map(show));
    }
    if let [form] = forms {
        let short =
            |keyword: &str, text: &str| form.number(keyword).filter(|n| *n > 0.0).map(|_| text.to_owned());
        wrong.extend(short("minItems", "[]"));
        wrong.extend(short("minLength", "\"\""));
        if form.schema.get("pattern").is_some() {
            wrong.push("\"!\"".to_owned());
        }
    }
    wrong
}
