//! What weights are called in Hugging Face's files, and how they lie there.

/// The modules of a family by name. Those of a layer follow `layers`, a number and a dot; `.weight` or `.bias` follows all.
#[derive(Debug, Clone)]
pub(crate) struct Names {
    pub(crate) embedding: &'static str,
    /// Learned positions, if the family has them.
    pub(crate) positions: Option<&'static str>,
    /// The norm of the embedding, if the family has one.
    pub(crate) embedding_norm: Option<&'static str>,
    pub(crate) layers: &'static str,
    pub(crate) attention_norm: &'static str,
    /// What the fused query/key/value product is put together from.
    pub(crate) qkv: Vec<Piece>,
    pub(crate) q_norm: &'static str,
    pub(crate) k_norm: &'static str,
    pub(crate) output: Piece,
    pub(crate) feed_forward_norm: &'static str,
    /// What the first product of the feed-forward layer is put together from.
    pub(crate) gate_up: Vec<Piece>,
    pub(crate) down: Piece,
    pub(crate) norm: &'static str,
    pub(crate) head: &'static str,
}

/// A stored matrix, part of one of ours.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// Name of the module.
    pub(crate) module: &'static str,
    /// Number of outputs.
    pub(crate) outputs: usize,
    /// How it lies in the file.
    pub(crate) layout: Layout,
}

/// How a matrix lies in a file. Ours are `[inputs, outputs]`, outputs of queries before those of keys before those of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// `[outputs, inputs]`.
    OutputsFirst,
    /// `[inputs, outputs]`.
    InputsFirst,
    /// `[outputs, inputs]`, outputs of each head together: its query, its key, its value.
    ByHead {
        /// Number of heads.
        heads: usize,
    },
}

impl Piece {
    /// A matrix that lies `[outputs, inputs]`.
    pub(crate) fn new(module: &'static str, outputs: usize) -> Self {
        Self {
            module,
            outputs,
            layout: Layout::OutputsFirst,
        }
    }

    /// The same matrix, lying otherwise.
    pub(crate) fn lying(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// Which of our outputs a stored one is.
    pub(crate) fn ours(&self, stored: usize) -> usize {
        match self.layout {
            Layout::OutputsFirst | Layout::InputsFirst => stored,
            Layout::ByHead { heads } => {
                let width = self.outputs / (3 * heads);
                let (head, part, element) = (stored / (3 * width), stored / width % 3, stored % width);
                (part * heads + head) * width + element
            }
        }
    }

    /// The stored shape, with so many inputs.
    pub(crate) fn shape(&self, inputs: usize) -> [usize; 2] {
        match self.layout {
            Layout::InputsFirst => [inputs, self.outputs],
            _ => [self.outputs, inputs],
        }
    }
}

impl Names {
    /// The name of a module of a layer.
    pub(crate) fn of_layer(&self, layer: usize, module: &str) -> String {
        format!("{}.{layer}.{module}", self.layers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_by_head_return_to_queries_keys_values() {
        // Two heads of width 2: stored q0 q0 k0 k0 v0 v0 q1 q1 k1 k1 v1 v1.
        let piece = Piece::new("qkv", 12).lying(Layout::ByHead { heads: 2 });
        let ours: Vec<usize> = (0..12).map(|stored| piece.ours(stored)).collect();
        assert_eq!(ours, [0, 1, 4, 5, 8, 9, 2, 3, 6, 7, 10, 11]);
    }
}
