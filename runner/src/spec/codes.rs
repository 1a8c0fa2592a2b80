//! What the mistakes of an experiment are called. Programs may rely on these names.

/// Every code with what it means, by name. A component's own checks add codes of their own.
pub const CODES: &[(&str, &str)] = &[
    (
        "ambiguous_variant",
        "a reference means one artifact, and the step has several variants",
    ),
    (
        "bad_condition",
        "`when` is not an expression that is true or false",
    ),
    (
        "bad_form",
        "a string does not have the form that its key asks for",
    ),
    (
        "bad_range",
        "the range of a random sweep is empty, or not above 0 on a logarithmic scale",
    ),
    (
        "bad_step_name",
        "a step's name has characters other than letters, digits, `_` and `-`",
    ),
    ("bad_toml", "the text is not TOML"),
    ("bad_value", "a value cannot be used; the message says why"),
    (
        "bad_variant_name",
        "a value cannot name a variant; give it a name",
    ),
    (
        "cannot_read",
        "an experiment file, or one it extends, cannot be read",
    ),
    ("cannot_shard", "the component runs whole"),
    ("cycle", "steps wait for each other"),
    ("duplicate_claim", "two claims have one name"),
    ("empty", "a text is empty where one is wanted"),
    ("empty_axis", "an axis of a sweep has no values"),
    ("empty_matrix", "an axis of a matrix names no variants"),
    ("extends_cycle", "files extend each other in a circle"),
    ("invalid_utf8", "an experiment file is not UTF-8"),
    ("missing_file", "a file that a step reads is not there"),
    ("missing_key", "a key that must be given is not there"),
    (
        "no_randomness",
        "a seed is given to a component that draws no random numbers",
    ),
    (
        "not_a_reference",
        "a reference has another form than `\"@step[variant].output\"`",
    ),
    (
        "not_exactly_one",
        "none or several of keys are given of which one is wanted",
    ),
    ("out_of_range", "a number is too small or too large"),
    ("outside_root", "a file lies outside the folders that may be read"),
    ("swept_twice", "a sweep sets one path in two places"),
    (
        "switched_off",
        "a reference names a step that its `when` switches off",
    ),
    ("too_deep", "tables or lists are nested too deep"),
    ("too_few", "a list has too few entries"),
    ("too_large", "an experiment file is larger than 1 MiB"),
    ("too_many", "a list has too many entries"),
    ("too_many_files", "files extend each other more than 64 times"),
    ("too_many_points", "a sweep has more than 100,000 points"),
    ("too_many_steps", "there are more than 2,000 steps"),
    (
        "too_many_variants",
        "a step has more than 1,000 variants, or all together more than 2,000",
    ),
    (
        "unequal_lengths",
        "lists that a sweep takes together have different lengths",
    ),
    ("unknown_component", "no component has this name"),
    ("unknown_key", "nothing reads this key or section"),
    (
        "unknown_output",
        "the step that a reference names has no such output",
    ),
    ("unknown_path", "a sweep sets a path at which nothing stands"),
    ("unknown_profile", "`--profile` names no profile"),
    (
        "unknown_step",
        "no step has this name, or it leaves nothing that is wanted here",
    ),
    ("unknown_value", "a value is none of those that its key takes"),
    ("unknown_variant", "the step that is named has no such variant"),
    (
        "wrong_kind",
        "a reference names an artifact of a kind that the key does not take",
    ),
    ("wrong_type", "a value has another type than its key asks for"),
];
