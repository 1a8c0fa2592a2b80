//! Compiled schemas, each made once a process: a sweep checks the same sections and components hundreds of times.

use super::grammar::schema_of;
use super::simplify::simplify;
use jsonschema::Validator;
use lyceum_components::Descriptor;
use schemars::JsonSchema;
use serde_json::Value;
use std::any::TypeId;
use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

/// A schema without `null`, and the validator compiled from it.
#[derive(Debug)]
pub(crate) struct Form {
    pub(crate) schema: Value,
    pub(crate) validator: Validator,
}

type Kept<K> = LazyLock<Mutex<HashMap<K, Arc<Form>>>>;

/// The form of a component's parameters.
pub(crate) fn of_component(component: &Descriptor) -> Arc<Form> {
    // Two registries may give one name to two components: the function that makes the schema tells them apart.
    static KEPT: Kept<(&str, usize)> = LazyLock::new(Mutex::default);
    kept(&KEPT, (component.name, component.schema as usize), || {
        let mut schema = (component.schema)();
        simplify(&mut schema);
        schema
    })
}

/// The form of a section.
pub(crate) fn of_section<T: JsonSchema + 'static>() -> Arc<Form> {
    static KEPT: Kept<TypeId> = LazyLock::new(Mutex::default);
    kept(&KEPT, TypeId::of::<T>(), schema_of::<T>)
}

fn kept<K: Eq + Hash>(all: &Kept<K>, key: K, schema: impl FnOnce() -> Value) -> Arc<Form> {
    let mut all = all.lock().unwrap_or_else(PoisonError::into_inner);
    let form = all.entry(key).or_insert_with(|| {
        let schema = schema();
        let validator = jsonschema::validator_for(&schema).expect("schemars makes schemas");
        Arc::new(Form { schema, validator })
    });
    form.clone()
}
