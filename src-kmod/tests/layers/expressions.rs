// SPDX-License-Identifier: GPL-2.0-only OR CECILL-B
//! Expressions that may panic or allocate, which `logic` must not have.

use syn::spanned::Spanned;
use syn::{BinOp, Expr};

use crate::layer::Layer;

/// Methods that allocate or panic.
const BAD_METHODS: [&str; 11] = [
    "unwrap",
    "expect",
    "unwrap_err",
    "expect_err",
    "to_vec",
    "to_string",
    "to_owned",
    "into_boxed_slice",
    "copy_from_slice",
    "clone_from_slice",
    "split_at",
];

impl Layer {
    /// Checks an expression. Its parts are visited on their own.
    pub(crate) fn check_expression(&mut self, expression: &Expr) {
        if !self.strict {
            return;
        }
        match expression {
            Expr::Unsafe(block) => self.report(block.unsafe_token.span(), "unsafe"),
            Expr::Index(index) => self.report(index.span(), "indexing may panic"),
            Expr::MethodCall(call) if BAD_METHODS.contains(&call.method.to_string().as_str()) => {
                self.report(call.method.span(), format!("{}() may allocate or panic", call.method));
            }
            Expr::Binary(binary) => match binary.op {
                BinOp::Add(_) | BinOp::Sub(_) | BinOp::Mul(_) => self.report(binary.op.span(), "unchecked arithmetic"),
                BinOp::AddAssign(_) | BinOp::SubAssign(_) | BinOp::MulAssign(_) => {
                    self.report(binary.op.span(), "unchecked arithmetic");
                }
                BinOp::Div(_) | BinOp::Rem(_) | BinOp::DivAssign(_) | BinOp::RemAssign(_)
                    if !is_constant(&binary.right) =>
                {
                    self.report(binary.op.span(), "division by what may be 0");
                }
                BinOp::Shl(_) | BinOp::Shr(_) | BinOp::ShlAssign(_) | BinOp::ShrAssign(_)
                    if !is_constant(&binary.right) =>
                {
                    self.report(binary.op.span(), "shift by what may be too far");
                }
                _ => {}
            },
            _ => {}
        }
    }
}

/// Whether it is a literal or a constant: the compiler itself reports a division by zero.
fn is_constant(expression: &Expr) -> bool {
    match expression {
        Expr::Lit(_) => true,
        Expr::Path(path) => path.path.segments.last().is_some_and(|last| {
            last.ident
                .to_string()
                .bytes()
                .all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_')
        }),
        _ => false,
    }
}
