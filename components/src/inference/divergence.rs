//! How far a model's distributions are from a teacher's along the same texts.

use super::windows::{floats, padded, split};
use crate::model::Decoder;
use burn::tensor::{Device, Tensor};
use lyceum_kernels::{Divergence, Projection, Teacher, linear_divergence};

/// A text, and the places of its tokens after which both models' distributions are compared.
#[derive(Debug, Clone)]
pub(crate) struct Compared<'a> {
    /// Its tokens.
    pub(crate) ids: &'a [u32],
    /// Numbers of tokens, from 0.
    pub(crate) after: Vec<usize>,
}

/// The divergences `kinds` of the first model from the second, the teacher, at temperature 1, in nats: by kind, text and
/// place. The texts are read as one batch by each; distributions are over the first `vocabulary` tokens of both, and logits of
/// all rows are never held at once.
pub(crate) fn divergences(
    [student, teacher]: [&Decoder; 2],
    vocabulary: usize,
    texts: &[Compared],
    kinds: &[Divergence],
    device: &Device,
) -> Vec<Vec<Vec<f64>>> {
    let ids: Vec<&[u32]> = texts.iter().map(|text| text.ids).collect();
    let counts: Vec<usize> = texts.iter().map(|text| text.after.len()).collect();
    let total: usize = counts.iter().sum();
    if total == 0 {
        return vec![vec![Vec::new(); texts.len()]; kinds.len()];
    }
    let projection = |decoder: &Decoder| {
        let (inputs_bt, width) = padded(&ids, device);
        let row = |(row, text): (usize, &Compared)| -> Vec<usize> {
            text.after.iter().map(|after| row * width + after).collect()
        };
        let chosen: Vec<usize> = texts.iter().enumerate().flat_map(row).collect();
        Projection {
            hidden_nd: decoder.hidden_at(inputs_bt, Some(&chosen)),
            head_vd: decoder.head().narrow(0, 0, vocabulary),
            bias_v: decoder.head_bias().map(|bias_v| bias_v.narrow(0, 0, vocabulary)),
        }
    };
    let (student, teacher) = (projection(student), projection(teacher));
    let of = |&kind: &Divergence| {
        let weights_n = Tensor::<1>::ones([total], (device, student.hidden_nd.dtype()));
        let teacher = Teacher::Dense(teacher.clone());
        let found = linear_divergence(student.clone(), teacher, kind, 1.0, weights_n);
        split(floats(found.value_n).into_iter(), &counts)
    };
    kinds.iter().map(of).collect()
}
