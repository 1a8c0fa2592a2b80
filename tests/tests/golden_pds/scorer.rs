//! `pds_scorer.json`: pooling, heads, the squared error and its gradients.

use crate::assert_close;
use burn::tensor::{DType, Device, Tensor, TensorData};
use lyceum_components::score::{HeadShape, ScorerHead, ScorerOutput, ScorerPooling, pool};
use lyceum_tests::{Golden, Node};

const TOLERANCE: f64 = 1e-13;

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f64> {
    tensor.into_data().iter::<f64>().collect()
}

/// What the heads are asked of: tracked hidden states, and lengths.
struct Inputs {
    device: Device,
    hidden: Vec<f64>,
    shape: Vec<usize>,
    lengths: Vec<usize>,
    labels: Vec<f64>,
}

impl Inputs {
    fn read(root: &Node) -> Self {
        let (shape, hidden) = root.get("hidden").tensor();
        let positions: Vec<usize> = root.get("pos").read();
        Self {
            device: Device::flex().autodiff(),
            hidden,
            shape,
            // Positions 0 to `pos` count.
            lengths: positions.iter().map(|position| position + 1).collect(),
            labels: root.get("labels").read(),
        }
    }

    fn hidden(&self) -> Tensor<3> {
        let data = TensorData::new(self.hidden.clone(), self.shape.clone());
        Tensor::from_data(data, (&self.device, DType::F64))
    }

    fn head(&self, weight: Vec<f64>, bias: f64, shape: HeadShape) -> ScorerHead {
        let like = Tensor::<1>::zeros([1], (&self.device, DType::F64));
        ScorerHead::new(shape, weight, Some(bias), &like)
    }

    /// The mean squared error, differentiable.
    fn error(&self, head: &ScorerHead, hidden_btd: Tensor<3>) -> Tensor<1> {
        let labels = TensorData::new(self.labels.clone(), [self.labels.len()]);
        let labels_b = Tensor::<1>::from_data(labels, (&self.device, DType::F64));
        let away_b = head.score(hidden_btd, &self.lengths) - labels_b;
        (away_b.clone() * away_b).mean()
    }
}

#[test]
fn the_scorers_heads_error_and_gradients_agree() {
    let golden = Golden::open("pds_scorer");
    let root = golden.root();
    root.prose(&["about"]);
    let inputs = Inputs::read(&root);
    let weight: Vec<f64> = root.get("weight").read();
    let bias: f64 = root.get("bias").read();
    let expected = root.get("expected");
    let list = |name: &str| expected.get(name).tensor().1;

    let pooled = pool(inputs.hidden(), &inputs.lengths, ScorerPooling::Mean);
    assert_close("pooled", &values(pooled), &list("pooled"), TOLERANCE);
    for (name, pooling, output) in [
        ("score_mean", ScorerPooling::Mean, ScorerOutput::Linear),
        ("score_last", ScorerPooling::Last, ScorerOutput::Linear),
        ("score_first", ScorerPooling::First, ScorerOutput::Linear),
        ("score_sigmoid_head", ScorerPooling::Mean, ScorerOutput::Sigmoid),
    ] {
        let head = inputs.head(weight.clone(), bias, HeadShape { pooling, output });
        let scores = values(head.score(inputs.hidden(), &inputs.lengths));
        assert_close(name, &scores, &list(name), TOLERANCE);
    }

    let head = inputs.head(weight, bias, HeadShape::default());
    let hidden = inputs.hidden().require_grad();
    let error = inputs.error(&head, hidden.clone());
    assert_close(
        "mse",
        &values(error.clone()),
        &[expected.get("mse").read()],
        TOLERANCE,
    );
    let gradients = error.backward();
    let by_hidden = hidden.grad(&gradients).expect("a gradient");
    assert_close("by hidden", &values(by_hidden), &list("grad_hidden"), TOLERANCE);
    let by_weight = head.weight.val().grad(&gradients).expect("a gradient");
    assert_close("by weight", &values(by_weight), &list("grad_weight"), TOLERANCE);
    let by_bias = head.bias.as_ref().expect("a bias").val().grad(&gradients);
    let by_bias = values(by_bias.expect("a gradient"));
    assert_close(
        "by bias",
        &by_bias,
        &[expected.get("grad_bias").read()],
        TOLERANCE,
    );

    // Four labels and four numbers: the least squares solution meets every label, and nothing pulls at it.
    let best = expected.get("least_squares_head");
    let weight: Vec<f64> = best.get("weight").read();
    let head = inputs.head(weight, best.get("bias").read(), HeadShape::default());
    let error = inputs.error(&head, inputs.hidden());
    assert!(values(error.clone())[0] < 1e-24, "{error:?}");
    let gradients = error.backward();
    let by_weight = head.weight.val().grad(&gradients).expect("a gradient");
    assert_close("by the best weight", &values(by_weight), &[0.0; 3], 1e-12);
    golden.finish();
}
