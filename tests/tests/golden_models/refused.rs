//! Configurations that ask for what the decoder does not do: refused, with the key and what there is.

use super::damaged::copy;
use super::fixture::{models, read_json};
use lyceum_components::inference::LanguageModel;
use lyceum_components::{Device, Precision};
use serde_json::{Value, json};

/// Checks that a checkpoint with another value of a key is refused with `code`, naming all of `says`.
#[track_caller]
fn refused(name: &str, pointer: &str, value: Value, code: &str, says: &[&str]) {
    let lab = tempfile::tempdir().expect("a folder");
    copy(&models().join(name), lab.path());
    let file = lab.path().join("config.json");
    let mut config = read_json(&file);
    *config.pointer_mut(pointer).expect("the key is there") = value;
    std::fs::write(&file, config.to_string()).expect("written");
    let error = LanguageModel::open_folder(lab.path(), &Device::flex(), Precision::F32)
        .expect_err("it asks for too much");
    assert_eq!(error.code(), code, "{error}");
    let message = error.to_string();
    for text in says.iter().chain([&"config.json"]) {
        assert!(message.contains(text), "not said: {text}\n{message}");
    }
}

#[test]
fn what_the_decoder_does_not_do_is_named() {
    let unsupported = |name: &str, pointer: &str, value: Value, supported: &str| {
        let key = pointer.rsplit('/').next().expect("a key");
        refused(
            name,
            pointer,
            value.clone(),
            "unsupported_config",
            &[key, &value.to_string(), supported],
        );
    };
    unsupported("opt", "/do_layer_norm_before", json!(false), "true");
    unsupported("opt", "/_remove_final_layer_norm", json!(true), "false");
    unsupported("opt", "/layer_norm_elementwise_affine", json!(false), "true");
    unsupported("opt", "/word_embed_proj_dim", json!(16), "hidden_size");
    unsupported("opt", "/activation_function", json!("swish"), "relu");
    unsupported("gpt2", "/scale_attn_weights", json!(false), "true");
    unsupported("gpt2", "/scale_attn_by_inverse_layer_idx", json!(true), "false");
    unsupported("gpt2", "/add_cross_attention", json!(true), "false");
    unsupported("gptj", "/rotary_dim", json!(null), "a number");
    unsupported(
        "bloom",
        "/apply_residual_connection_post_layernorm",
        json!(true),
        "false",
    );
    unsupported("gpt_neox", "/hidden_act", json!("silu"), "gelu");
    unsupported("llama2", "/hidden_act", json!("gelu"), "silu");
    unsupported(
        "llama3",
        "/rope_parameters/rope_type",
        json!("longrope"),
        "llama3",
    );
    unsupported("llama2_hub", "/rope_scaling/type", json!("longrope"), "yarn");
    unsupported(
        "qwen2_window",
        "/layer_types",
        json!(["full_attention", "chunked_attention"]),
        "sliding_attention",
    );
    refused(
        "llama2",
        "/model_type",
        json!("mixtral"),
        "unsupported_model",
        &["mixtral"],
    );
    refused(
        "qwen2_window",
        "/use_sliding_window",
        json!(false),
        "bad_config",
        &["use_sliding_window"],
    );
    refused(
        "qwen2_window",
        "/layer_types",
        json!(["full_attention"]),
        "bad_config",
        &["layer_types"],
    );
    refused("gptj", "/rotary_dim", json!(3), "bad_config", &["even"]);
    refused("gptj", "/rotary_dim", json!(16), "bad_config", &["2 to 8"]);
}
