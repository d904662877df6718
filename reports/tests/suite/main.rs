//! Documents as their readers see them: a result in, text out.

mod acts;
mod fixture;
mod gates;
mod golden;
mod gpu;
mod html;
mod json;
mod numbers;
mod plan;
mod plots;
mod simulated;
mod sweep;
mod tables;
mod tasks;
